package harness

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/rogpeppe/go-internal/diff"
)

// golden is a folder of outputs as they shall be: TEMPLATE/CASE.conf. A template is compared when it has a folder there;
// then each case needs its file.
type golden struct {
	files  fs.FS  // nil: nothing is compared
	dir    string // for messages and for writing
	update bool   // write what differs or is missing, and compare nothing

	// shipped: they are those of the standard cases, and hold for lbd's own template and its default upstream alone.
	shipped bool
}

const (
	goldenSame    = "same"
	goldenDiffers = "differs"
	goldenMissing = "missing"
	goldenWritten = "written"
)

// compare returns what became of one output, and a unified diff when it differs.
func (g golden) compare(template, name string, text []byte) (verdict, diffed string, err error) {
	file := path.Join(template, name+".conf")
	where := filepath.Join(g.dir, filepath.FromSlash(file))
	if g.update {
		if have, err := os.ReadFile(where); err == nil && bytes.Equal(have, text) {
			return goldenSame, "", nil
		}
		if err := os.MkdirAll(filepath.Dir(where), 0o755); err != nil {
			return "", "", fmt.Errorf("write golden file: %w", err)
		}
		if err := os.WriteFile(where, text, 0o644); err != nil {
			return "", "", fmt.Errorf("write golden file: %w", err)
		}
		return goldenWritten, "", nil
	}
	if g.files == nil {
		return "", "", nil
	}
	if _, err := fs.Stat(g.files, template); errors.Is(err, fs.ErrNotExist) {
		return "", "", nil
	}
	want, err := fs.ReadFile(g.files, file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return goldenMissing, fmt.Sprintf("there is no golden file %s (--update writes it)", where), nil
	case err != nil:
		return "", "", fmt.Errorf("read golden file: %w", err)
	}
	if d := diff.Diff(where, want, "rendered", text); d != nil {
		_, d, _ = bytes.Cut(d, []byte("\n")) // the first line names the two, as the next ones do
		return goldenDiffers, fmt.Sprintf("the output differs from its golden file (--update takes it over):\n%s", bytes.TrimRight(d, "\n")), nil
	}
	return goldenSame, "", nil
}

// stale lists the golden files of a template that no case wrote.
func (g golden) stale(template string, cases map[string]bool) (files []string) {
	if g.files == nil {
		return nil
	}
	found, _ := fs.Glob(g.files, path.Join(template, "*.conf")) // a template's name is no pattern
	for _, f := range found {
		if name := path.Base(f); !cases[name[:len(name)-len(".conf")]] {
			files = append(files, filepath.Join(g.dir, filepath.FromSlash(f)))
		}
	}
	return files
}
