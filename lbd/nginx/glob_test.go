package nginx

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// Nginx is the judge: it says in the dump of its test which files a pattern led it to, and in which order.
func TestGlobAsNginx(t *testing.T) {
	dir := serverstest.Dir(t)
	s := &site{t: t, dir: dir}
	for _, name := range []string{
		"a", "b", "B", "ab", "a.conf", "b.conf", "10.conf", "9.conf", ".hidden.conf", "a-b", "a]b", "a[b", "a*b", `a\b`, "é", "-", "^x", "!x",
		"sub/a.conf", "sub/b.conf", "sub2/a.conf", ".dot/a.conf", "z z.conf",
	} {
		s.write("f/"+name, "# "+name)
	}
	s.link("../f/a", "f/link.conf")
	s.link("sub", "f/sublink")
	for _, pattern := range []string{
		"f/*.conf", "f/?", "f/??", "f/[ab]", "f/[!ab]", "f/[^ab]*", "f/[a-c]*b", "f/[]a]", "f/a[]]b", "f/a[[]b", `f/a\*b`, `f/a\**`, `f/a\\?b`, `f/a[\\]b`,
		"f/.*.conf", "f/*/a.conf", "f/sub*/[ab].conf", "f/*/*", "f/[-]", "f/[a-]*", "f/[!]*", "f/a[b", "f/a[*", "f/nothing*", "f/*b", "f/*a*b*", "f/**",
		"f//*.conf", "f/./*.conf", "f/sub/../*.conf", "f/.[h]*", "f/[.]*", "f/?hidden.conf", "f/[", "f/[^x]x", "f/z*", "f/.dot/*", "f/*/../a*", "f/\xc3?", "[f]/a",
		`f/s\ub/*`, "*/a",
	} {
		got, _ := glob(dir+"/"+pattern, nil)
		got = slices.DeleteFunc(got, func(name string) bool { // Nginx would fail to read a folder
			info, err := os.Stat(name)
			return err == nil && info.IsDir()
		})
		conf := "include '" + strings.ReplaceAll(pattern, `\`, `\\`) + "';\nevents {}\npid pid;\nerror_log stderr;\n"
		if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		dump, err := exec.Command("nginx", "-T", "-e", "stderr", "-p", dir, "-c", filepath.Join(dir, "nginx.conf")).CombinedOutput()
		if err != nil && !strings.Contains(string(dump), "Is a directory") {
			t.Errorf("%q: nginx: %v\n%s", pattern, err, dump)
			continue
		}
		if err != nil {
			continue // the pattern leads to a folder as well
		}
		var want []string
		for line := range strings.Lines(string(dump)) {
			if name, ok := strings.CutPrefix(line, "# configuration file "); ok {
				want = append(want, strings.TrimSuffix(name, ":\n"))
			}
		}
		want = slices.DeleteFunc(want, func(name string) bool { return name == dir+"/nginx.conf" })
		if !slices.Equal(got, want) {
			t.Errorf("%q:\n got %q\nwant %q", pattern, got, want)
		}
	}
}
