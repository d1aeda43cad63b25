package nginx

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/step"
)

// Each layout leads to the output in another way; DIR stands for the site's folder.
var layouts = []struct {
	name    string
	include string
	files   map[string]string
	links   map[string]string
}{
	{name: "glob", include: "include conf.d/*.conf;"},
	{name: "relative", include: "include conf.d/out.conf;"},
	{name: "absolute", include: "include DIR/conf.d/out.conf;"},
	{name: "absolute glob in two components", include: "include DIR/con?.d/[a-z]*t.conf;"},
	{name: "quoted", include: "include \n'conf.d/out.conf' # why not\n;"},
	{name: "several on a line", include: "map $host $b { default 1; } include conf.d/*.conf; map $host $d { default 1; }"},
	{name: "after a comment that looks like it", include: "# include nowhere.conf;\nmap $host $b { '}' '{'; } include conf.d/*.conf;"},
	{name: "dots in the path", include: "include ../../../../../../..DIR/conf.d/../conf.d/./out.conf;"},
	{name: "nested", include: "include a/*.conf;", files: map[string]string{
		"a/1.conf": "map $host $b { default 1; }", "a/2.conf": "include a/b/*;", "a/b/x": "include conf.d/o*.conf; # end"}},
	{name: "sites-enabled", include: "include sites-enabled/*;", files: map[string]string{
		"sites-available/app": "include conf.d/out.conf;", "sites-available/\xff'\"\\ $x": "map $host $b { default 1; }"},
		links: map[string]string{"sites-enabled/app": "../sites-available/app", "sites-enabled/odd": "../sites-available/\xff'\"\\ $x"}},
	{name: "the output's folder is a link", include: "include linked/*.conf;", links: map[string]string{"linked": "conf.d"}},
	{name: "the output is behind a link in a glob", include: "include enabled/*;", links: map[string]string{"enabled/z": "DIR/conf.d/out.conf"}},
	{name: "names that look like patterns", include: "include 'odd/*';", files: map[string]string{
		"odd/a[1].conf": "map $host $b { default 1; }", "odd/b*?\\.conf": "include conf.d/*.conf;"}},
	{name: "twice, once through a map", include: "include conf.d/*.conf; map $host $b { include values; default 1; } geo $g { include values; }",
		files: map[string]string{"values": "10.0.0.1 1;"}},
}

func (s *site) layout(i int) {
	s.t.Helper()
	l := layouts[i]
	expand := func(text string) string { return strings.ReplaceAll(text, "DIR", s.dir) }
	conf, err := os.ReadFile(filepath.Join(s.dir, "nginx.conf"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("nginx.conf", strings.Replace(string(conf), "INCLUDE", expand(l.include), 1))
	for name, text := range l.files {
		s.write(name, expand(text))
	}
	for name, target := range l.links {
		s.link(expand(target), name)
	}
}

func TestLayouts(t *testing.T) {
	t.Parallel()
	for i, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			s := newSite(t, "INCLUDE", map[string]string{"conf.d/out.conf": string(gen("g0"))})
			s.layout(i)
			s.start()
			s.apply(File{Path: s.out, Data: gen("g1")})
			s.serves("g1")

			same := s.undisturbed()
			bad := []File{{Path: s.out, Data: []byte("\n\n  borken;\n")}}
			s.refuses(step.Test, bad, `unknown directive "borken" in `+s.out+":3")
			if err := s.n.Test(t.Context(), bad); err == nil {
				t.Error("Test passes a bad file")
			}
			if err := s.n.Test(t.Context(), []File{{Path: s.out, Data: gen("g2")}}); err != nil {
				t.Errorf("Test refuses a good file: %v", err)
			}
			same()
			s.holds("conf.d/out.conf", gen("g1"))
			s.clean()
		})
	}
}

// What stands behind the include statement keeps its line and its name in messages.
func TestMessagesNameTheOperatorsFiles(t *testing.T) {
	include := "include\nconf.d/*.conf\n;\ninclude mine.conf; server { return 200 $new; }\n"
	s := newSite(t, include, map[string]string{"conf.d/out.conf": string(gen("g0")) + "map $host $new { default 1; }", "mine.conf": ""})
	mine := "\nserver { return 200 $new2; }\n"
	s.write("mine.conf", mine)
	s.write("conf.d/out.conf", string(gen("g0"))+"map $host $new { default 1; } map $host $new2 { default 1; }")
	for _, tc := range []struct{ data, want string }{
		{"server { listen 127.0.0.1:0; }", s.out + ":1"},
		{"include mine2.conf;", s.dir + "/mine2.conf\" failed (2: No such file or directory) in " + s.out + ":1"},
		{"server { listen 127.0.0.1:1; x", `unexpected end of file, expecting ";" or "}" in ` + s.out + ":1"},
		{"map $host $new2 { default 1; }", `unknown "new" variable`},
	} {
		s.refuses(step.Test, []File{{Path: s.out, Data: append(gen("g1")[:len(gen("g1"))-1], tc.data...)}}, tc.want)
	}
	s.write("mine.conf", mine+"\nupstream u {}\n")
	s.refuses(step.Test, []File{{Path: s.out, Data: gen("g1")}}, "our change aside", s.dir+"/mine.conf:4")
	s.clean()
}

// An error in the main file that our change brings about has the line of the main file.
func TestMainFileKeepsItsLines(t *testing.T) {
	s := newSite(t, "include\nconf.d/*.conf\n;\nupstream app { server 127.0.0.1:9; }", map[string]string{"conf.d/out.conf": string(gen("g0"))})
	data := append(gen("g1"), "upstream app { server 127.0.0.1:9; }"...)
	line := strings.Count(head(s.dir), "\n") + 4
	s.refuses(step.Test, []File{{Path: s.out, Data: data}}, fmt.Sprintf(`duplicate upstream "app" in %s/nginx.conf:%d`, s.dir, line))
}

func TestOutputBehindALink(t *testing.T) {
	s := newSite(t, "include conf.d/*.conf;", map[string]string{"elsewhere/real.conf": string(gen("g0"))})
	s.link("../elsewhere/real.conf", "conf.d/out.conf")
	s.start()
	s.apply(File{Path: s.out, Data: gen("g1")})
	s.serves("g1")
	s.holds("elsewhere/real.conf", gen("g1"))
	if target, err := os.Readlink(s.out); err != nil || target != "../elsewhere/real.conf" {
		t.Errorf("the link was replaced: %q, %v", target, err)
	}
	s.refuses(step.Install, []File{{Path: s.out, Data: gen("g2")}, {Path: filepath.Join(s.dir, "elsewhere/real.conf"), Data: gen("g3")}}, "are one file")
}

func TestFirstInstall(t *testing.T) {
	t.Parallel()
	for name, include := range map[string]string{
		"glob": "include conf.d/*.conf;", "literal": "include conf.d/out.conf;", "dangling link": "include enabled/*;",
		"folder behind a link": "include linked/o*;",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, include, map[string]string{"conf.d/keep": ""})
			s.link("../conf.d/out.conf", "enabled/app")
			s.link("conf.d", "linked")
			out := s.apply(File{Path: s.out, Data: gen("g1")}) // the configuration alone is broken: $gen is unknown
			if !out.Changed || out.Running || out.Reloaded {
				t.Errorf("outcome %+v without a running nginx", out)
			}
			s.start()
			s.serves("g1")
			if out := s.apply(File{Path: s.out, Data: gen("g2")}); !out.Running {
				t.Errorf("outcome %+v", out)
			}
			s.serves("g2")
			s.clean()
		})
	}
}

func TestFirstInstallOfABadFile(t *testing.T) {
	s := newSite(t, "include conf.d/out.conf;", map[string]string{"conf.d/keep": ""})
	s.refuses(step.Test, []File{{Path: s.out, Data: []byte("borken;")}}, "new configuration", s.out+":1")
	if _, err := os.Lstat(s.out); !os.IsNotExist(err) {
		t.Errorf("the bad file was installed: %v", err)
	}
	s.clean()
}

func TestRemoval(t *testing.T) {
	t.Parallel()
	s := newSite(t, "include conf.d/*.conf;\ninclude conf.d/extra;", map[string]string{
		"conf.d/out.conf": string(gen("g0")), "conf.d/more.conf": "map $host $b { default 1; }", "conf.d/extra": ""})
	s.start()
	more := File{Path: filepath.Join(s.dir, "conf.d/more.conf"), Remove: true}
	if out := s.apply(more); !out.Changed || !out.Running {
		t.Errorf("outcome %+v", out)
	}
	if _, err := os.Lstat(more.Path); !os.IsNotExist(err) {
		t.Errorf("still there: %v", err)
	}
	same := s.undisturbed()
	if out := s.apply(more); out.Changed || out.Reloaded || !out.Running {
		t.Errorf("outcome of the second removal %+v", out)
	}
	extra := filepath.Join(s.dir, "conf.d/extra")
	s.refuses(step.Test, []File{{Path: extra, Remove: true}}, "conf.d/extra")
	s.refuses(step.Test, []File{{Path: s.out, Remove: true}}, "gen")
	same()
	s.holds("conf.d/extra", nil)
	s.holds("conf.d/out.conf", gen("g0"))
	s.clean()
}

func TestOutputThatNothingIncludes(t *testing.T) {
	s := running(t)
	lost := File{Path: filepath.Join(s.dir, "conf.d/out.confx"), Data: gen("g1")}
	s.refuses(step.Test, []File{lost}, "add `include "+lost.Path+";` inside http {} in "+filepath.Join(s.dir, "nginx.conf"))
	s.refuses(step.Test, []File{{Path: filepath.Join(s.dir, "nginx.conf"), Data: gen("g1")}}, "main configuration file")
	hidden := File{Path: filepath.Join(s.dir, "conf.d/.out.conf"), Data: gen("g1")}
	s.refuses(step.Test, []File{hidden}, "no include statement")
	s.clean()
}

func TestBrokenOnDisk(t *testing.T) {
	s := running(t)
	same := s.undisturbed()
	s.write("conf.d/other.conf", "\nborken on;\n")
	s.refuses(step.Test, []File{{Path: s.out, Data: gen("g1")}}, "our change aside", "conf.d/other.conf:2", "mend it")
	s.write("conf.d/other.conf", "\nserver {\n") // not even tokens
	s.refuses(step.Test, []File{{Path: s.out, Data: gen("g1")}}, "our change aside", "conf.d/other.conf:3")
	s.holds("conf.d/out.conf", gen("g0"))
	same()
	s.clean()
}

// A foreign block that the walker does not know hides an include that is none: Nginx reads no such file.
func TestIncludeThatNginxDoesNotFollow(t *testing.T) {
	s := newSite(t, "split_clients $remote_addr $x { * conf.d; }\nmap $host $gen { default m; }\n"+
		"charset_map koi8-r utf-8 { include conf.d; }", map[string]string{"conf.d/out.conf": ""})
	if err := s.n.Test(t.Context(), []File{{Path: filepath.Join(s.dir, "conf.d/out.conf"), Data: []byte("# new")}}); err == nil {
		t.Error("an output that Nginx never reads passes")
	}
}
