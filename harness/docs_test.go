package harness

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/bazbeans/bazbeans/nginx-test/cases"
)

func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/harness.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// block is the body of a fenced block of the page.
func block(t *testing.T, head string) string {
	t.Helper()
	found := regexp.MustCompile("(?s)```" + regexp.QuoteMeta(head) + "\n(.*?)```").FindStringSubmatch(page(t))
	if found == nil {
		t.Fatalf("the page has no block %s", head)
	}
	return found[1]
}

// The page's case is played, and does what the page says.
func TestPagesCase(t *testing.T) {
	dir := files(t, map[string]string{"two-canaries.yaml": block(t, "yaml case two-canaries")})
	if code, out, said := lbdTest(t, "--cases", dir); code != 0 || !strings.Contains(out, "web1 ") {
		t.Errorf("exit code %d: %s%s", code, said, out)
	}
}

// The report of a broken template is what the page shows.
func TestPagesReport(t *testing.T) {
	want := block(t, "text broken")
	dir := files(t, map[string]string{"templates/mine.conf.tmpl": strings.Replace(broken["wrong-place"], "{{/* Workers of our own. */ -}}\n", "", 1)})
	t.Chdir(dir)
	n, err := FindNginx(t.Context(), "nginx", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, out, _ := lbdTest(t, "--templates", "templates", "--only", "no-node")
	if out = strings.ReplaceAll(out, n.Version, "1.22.1"); !strings.Contains(out, want) {
		t.Errorf("the page shows\n%s\nit is\n%s", want, out)
	}
}

// Every command of the page can be given so, every flag and every key is on it.
func TestPageIsComplete(t *testing.T) {
	text := page(t)
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	bind(fs)
	known := map[string]bool{"config": true, "templates": true, "fixture": true}
	fs.VisitAll(func(f *pflag.Flag) {
		known[f.Name] = true
		if !strings.Contains(text, "--"+f.Name) {
			t.Errorf("flag --%s is not on the page", f.Name)
		}
	})
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "lbd test") {
			continue
		}
		for _, flag := range regexp.MustCompile(`--([a-z-]+)`).FindAllStringSubmatch(line, -1) {
			if !known[flag[1]] {
				t.Errorf("%s: there is no flag --%s", strings.TrimSpace(line), flag[1])
			}
		}
	}
	keys := func(prefix string, of any) {
		for f := range reflect.TypeOf(of).Fields() {
			tag := f.Tag.Get("yaml")
			if tag != "" && tag != "-" && tag != "send" && tag != "want" && !strings.Contains(text, "`"+prefix+tag+"`") {
				t.Errorf("key %s%s is not on the page", prefix, tag)
			}
		}
	}
	keys("", Case{})
	keys("send.", Send{})
	keys("want.", Want{})
}

// --write-cases gives people the standard cases to begin with, and leaves alone what they have.
func TestWriteCases(t *testing.T) {
	dir := files(t, map[string]string{"ipv6.yaml": "shows: mine"})
	code, out, said := lbdTest(t, "--write-cases", dir)
	all, err := ReadCases(cases.FS, "the standard cases")
	if err != nil {
		t.Fatal(err)
	}
	written, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	text, rerr := os.ReadFile(filepath.Join(dir, "ipv6.yaml"))
	if code != 0 || err != nil || rerr != nil || len(written) != len(all) || string(text) != "shows: mine" || !strings.Contains(out, "1 were there") {
		t.Errorf("exit code %d: %s%s %v %v %d", code, said, out, err, rerr, len(written))
	}
}
