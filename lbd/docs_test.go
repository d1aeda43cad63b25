package lbd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// page is docs/lbd.md, whose examples are run here.
func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/lbd.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func block(t *testing.T, language string) string {
	t.Helper()
	m := regexp.MustCompile("(?s)```" + language + "\n(.*?)```").FindStringSubmatch(page(t))
	if m == nil {
		t.Fatalf("the page has no %s block", language)
	}
	return m[1]
}

func TestThePagesConfigIsTheDefault(t *testing.T) {
	c, err := parseConfig(t, block(t, "yaml"))
	if err != nil {
		t.Fatal(err)
	}
	d := DefaultConfig()
	d.ID = "lb1"
	if err := d.complete(); err != nil {
		t.Fatal(err)
	}
	// What the page spells out beside the defaults.
	c.Resolvers, c.Redis.URL, c.Redis.KeyPrefix = d.Resolvers, "", ""
	if got, want := dump(c), dump(d); got != want {
		t.Errorf("the page's config is not the default\n got %s\nwant %s", got, want)
	}
}

func TestThePageNamesAllMetrics(t *testing.T) {
	m := newMetrics()
	m.took("test", 0)
	m.asked("redis", 0, nil)
	m.applies.WithLabelValues("applied")
	m.generation.WithLabelValues("wanted")
	m.nodes.WithLabelValues("active")
	m.workers.WithLabelValues("serving")
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, w := range regexp.MustCompile(`lbd_\w+`).FindAllString(page(t), -1) {
		named[w] = true
	}
	for _, f := range families {
		if name := f.GetName(); strings.HasPrefix(name, "lbd_") {
			if !named[name] {
				t.Errorf("the page does not name %s", name)
			}
			delete(named, name)
		}
	}
	for name := range named {
		t.Errorf("the page names %s, which does not exist", name)
	}
}

func TestThePagesProgramIsAnLBD(t *testing.T) {
	dir, err := os.MkdirTemp("testdata", "program") // inside the module, so that it finds it, and out of ./...
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(block(t, "go")), 0o600); err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "run", "./"+dir, "render", "--fixture", "testdata/nodes.yaml", "--resolver", "cmdb", "--id", "lb1", "--state-dir", state)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "server 10.0.1.10:8000;") {
		t.Errorf("%v\n%s", err, out)
	}
}

func dump(c Config) string { return fmt.Sprintf("%+v", c) }
