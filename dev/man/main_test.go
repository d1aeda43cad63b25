package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/ctl"
)

// Every command has a page, and each says what its help says.
func TestPages(t *testing.T) {
	dir := t.TempDir()
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{dir}, nil, &stdout, &stderr); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr.String())
	}
	want := map[string]string{"lbd.8": `\-\-config`, "lbd-test.8": `\-\-golden`, "bbagent.8": `\-\-node\-id`}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Name() != "help" {
			want[strings.ReplaceAll(c.CommandPath(), " ", "-")+".1"] = strings.ReplaceAll(strings.TrimSuffix(c.Short, "."), "-", `\-`)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(ctl.Command())
	for name, text := range want {
		page, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		} else if !strings.Contains(strings.ReplaceAll(string(page), "\n", " "), text) {
			t.Errorf("%s does not say %q:\n%s", name, text, page)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != len(want) {
		t.Errorf("%d pages, want %d: %v", len(files), len(want), err)
	}
	if groff, err := exec.LookPath("groff"); err == nil { // where there is one it has nothing to complain of
		for name := range want {
			out, err := exec.Command(groff, "-Kutf8", "-man", "-Tutf8", "-wall", "-z", filepath.Join(dir, name)).CombinedOutput()
			if err != nil || len(out) > 0 {
				t.Errorf("groff %s: %v\n%s", name, err, out)
			}
		}
	}
}
