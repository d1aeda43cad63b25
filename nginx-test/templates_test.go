package nginxtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// site7 is a template of the site's own; what stands in the comment tells its versions apart.
const site7 = `{{comment "version" "one"}}
upstream {{.Name}} {
    zone {{.Name}} {{.ZoneSize}};
{{- range .Servers}}
    server {{.Addr}}{{.Params}};
{{- end}}
}
`

// wantText waits until lbd's file holds the text and Nginx serves it.
func (b *balancer) wantText(text string) {
	b.s.t.Helper()
	serverstest.Eventually(b.s.t, soon, func() error {
		got := read(b.s.t, b.output) // before the status, as in wantServers
		_, err := b.settled(b.output)
		if err == nil && !strings.Contains(got, text) {
			err = fmt.Errorf("the file lacks %q:\n%s", text, got)
		}
		return err
	})
}

// A template is changed, broken in several ways, and mended, all while lbd runs. A broken one changes nothing, is reported
// with file and line, and holds up no change of the pool.
func TestTemplates(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2"}, config: "timing: {min_interval: 100ms}\n"})
	traffic := s.traffic()
	file := filepath.Join(s.dir, "lb1/templates/upstream.conf.tmpl")
	version := func(v string) string { return strings.Replace(site7, `"one"`, `"`+v+`"`, 1) }

	write(t, file, site7)
	s.wantText("# version one\n")
	good := "one"
	for name, bad := range map[string]struct {
		text string
		says []string
	}{
		"no template":              {version("bad1") + "{{end}}\n", []string{"upstream.conf.tmpl:8", "unexpected {{end}}"}},
		"no such field":            {version("bad2") + "# {{.Nope}}\n", []string{"upstream.conf.tmpl:8", "Nope"}},
		"a server of its own":      {strings.Replace(version("bad3"), "{{- range", "server 127.0.0.1:1;\n{{- range", 1), []string{"upstream.conf.tmpl", "127.0.0.1:1"}},
		"what Nginx does not take": {strings.Replace(version("bad4"), "zone {{.Name}} {{.ZoneSize}};", "zone {{.Name}} 1;", 1), []string{"upstream.conf:4", "zone"}},
	} {
		t.Log(name)
		wantUntouched := s.fileAsItIs()
		write(t, file, bad.text)
		s.lbd.wantLog(bad.says...)
		wantUntouched()

		s.bbctl("freeze", "web1", "--wait")
		s.wantServers("web2")
		s.wantText("# version " + good + "\n")
		s.bbctl("unfreeze", "web1", "--wait")
		s.wantServers("web1", "web2")

		good = "for_" + strings.ReplaceAll(name, " ", "_")
		write(t, file, version(good))
		s.wantText("# version " + good + "\n")
		s.want("/readyz", 200)
	}

	write(t, file, version("two"))
	s.wantText("# version two\n")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s.wantText("least_conn;") // the built-in one again
	traffic.wantNoHarm()
}

// A release is put in place by moving folders: while there is none nothing changes but the pool, and what is written into the
// new one later is seen at once, too.
func TestTemplatesFolderReplaced(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2"}, config: "timing: {min_interval: 100ms, resync: 1h}\n"})
	traffic := s.traffic()
	dir := filepath.Join(s.dir, "lb1/templates")
	version := func(dir, v string) {
		write(t, filepath.Join(dir, "upstream.conf.tmpl"), strings.Replace(site7, "one", v, 1))
	}
	version(dir, "one")
	s.wantText("# version one\n")
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	s.lbd.wantLog("read templates", "the version before it stays in use")
	s.bbctl("freeze", "web1", "--wait")
	s.wantServers("web2")
	s.wantText("# version one\n")
	if err := os.Mkdir(dir+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	version(dir+".new", "two")
	if err := os.Rename(dir+".new", dir); err != nil {
		t.Fatal(err)
	}
	s.wantText("# version two\n")
	version(dir, "three")
	s.wantText("# version three\n")
	s.wantServers("web2")
	traffic.wantNoHarm()
}

// Kubernetes mounts a ConfigMap as links to links and swaps one of them.
func TestTemplatesInAConfigMap(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1"}, config: "timing: {min_interval: 100ms}\n"})
	dir := filepath.Join(s.dir, "lb1/templates")
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range []string{"one", "two"} {
		if err := os.Mkdir(filepath.Join(dir, "..2026_"+v), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "..2026_"+v, "upstream.conf.tmpl"), strings.Replace(site7, "one", v, 1))
	}
	link("..2026_one", "..data")
	link("..data/upstream.conf.tmpl", "upstream.conf.tmpl")
	s.wantText("# version one\n")
	link("..2026_two", "..data_tmp")
	if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	s.wantText("# version two\n")
	s.wantServers("web1")
}
