package render_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-multierror"

	"github.com/bazbeans/bazbeans/render"
	"github.com/bazbeans/bazbeans/step"
)

const (
	shipped = "upstream.conf.tmpl"
	good    = "upstream {{.Name}} { {{range .Servers}}server {{.Addr}}{{.Params}};{{end}} }\n"
)

func write(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// folder loads a folder of templates that are all right.
func folder(t testing.TB, files map[string]string) *render.Set {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, dir, name, text)
	}
	return load(t, dir, nil)
}

func load(t testing.TB, dir string, old *render.Set) *render.Set {
	t.Helper()
	set, err := render.Load(dir, old)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// try renders one node with a template.
func try(t testing.TB, set *render.Set, template string) (string, error) {
	t.Helper()
	u := upstream(t, "least_conn")
	u.Template = template
	out, err := set.Render(view(t, u, nodes(1), ""))
	return string(out), err
}

func TestLoadBuiltIn(t *testing.T) {
	set := load(t, "", nil)
	if got := set.Names(); !slices.Equal(got, []string{shipped}) {
		t.Errorf("built-in templates: %v", got)
	}
	if got := set.Source(shipped); got != "built-in" {
		t.Errorf("source %q", got)
	}
	if got := set.Source("none.tmpl"); got != "" {
		t.Errorf("source of none: %q", got)
	}
}

// A folder as Kubernetes mounts a configmap: links through ..data, which is itself a link.
func TestLoadFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "..2026_01/sub.tmpl"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "..2026_01"), shipped, good)
	write(t, dir, "own.tmpl", good)
	write(t, dir, ".own.tmpl.swp", "{{")
	write(t, dir, ".hidden.tmpl", "{{")
	write(t, dir, "notes.txt", "{{")
	for link, target := range map[string]string{"..data": "..2026_01", shipped: "..data/" + shipped, "sub.tmpl": "..data/sub.tmpl"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.tmpl"), 0o644); err != nil {
		t.Fatal(err)
	}

	set := load(t, dir, nil)
	if got := set.Names(); !slices.Equal(got, []string{"own.tmpl", shipped}) {
		t.Errorf("templates: %v", got)
	}
	if got := set.Source(shipped); got != filepath.Join(dir, shipped) {
		t.Errorf("source %q: a file goes before the built-in one", got)
	}
	for _, name := range set.Names() {
		if out, err := try(t, set, name); err != nil || !strings.Contains(out, "upstream app_backend { server 10.0.0.0:8000; }") {
			t.Errorf("%s: %s %v", name, out, err)
		}
	}
	if err := os.Remove(filepath.Join(dir, shipped)); err != nil {
		t.Fatal(err)
	}
	if got := load(t, dir, set).Source(shipped); got != "built-in" {
		t.Errorf("source %q after the file was removed", got)
	}
}

func TestLoadKeepsWhatABrokenFileWas(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.tmpl", good)
	write(t, dir, "b.tmpl", good)
	first := load(t, dir, nil)

	write(t, dir, "a.tmpl", "\n\n{{range .Servers}}")
	write(t, dir, "b.tmpl", "{{html .Name}}")
	write(t, dir, shipped, "{{end}}")
	write(t, dir, "new.tmpl", "{{.}")
	second, err := render.Load(dir, first)
	if merr, ok := err.(*multierror.Error); !ok || len(merr.Errors) != 4 {
		t.Fatalf("%v, want an error for each of 4 files", err)
	}
	for _, want := range []string{"a.tmpl:3: unexpected EOF", `b.tmpl:1: function "html" not defined`, shipped + ":1: unexpected {{end}}", "new.tmpl:1: "} {
		if !strings.Contains(err.Error(), filepath.Join(dir, want)) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
	for _, name := range []string{"a.tmpl", "b.tmpl", shipped} {
		if _, err := try(t, second, name); err != nil {
			t.Errorf("%s: %v, want its version of before", name, err)
		}
	}
	if _, err := try(t, second, "new.tmpl"); err == nil || !strings.Contains(err.Error(), "new.tmpl:1: ") {
		t.Errorf("new.tmpl: %v, want its parse error", err)
	}
	// At a start there is no version of before; the built-in one is not what the operator meant.
	atStart, _ := render.Load(dir, nil)
	if _, err := try(t, atStart, shipped); err == nil || !strings.Contains(err.Error(), shipped+":1: ") || step.Of(err) != step.Render {
		t.Errorf("%s at a start: %v, want its parse error", shipped, err)
	}
	if third, err := render.Load(dir, second); err == nil || !third.Equal(second) {
		t.Errorf("a second look: equal %v, %v; want the same set and errors", third.Equal(second), err)
	}
}

func TestLoadUnreadable(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("nowhere", filepath.Join(dir, "gone.tmpl")); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "huge.tmpl", strings.Repeat("#", 1<<20+1))
	set, err := render.Load(dir, nil)
	for _, want := range []string{filepath.Join(dir, "gone.tmpl"), "huge.tmpl is larger than"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := try(t, set, shipped); err != nil {
		t.Errorf("the others: %v", err)
	}
	if again, err := render.Load(filepath.Join(dir, "no-folder"), set); err == nil || again != set {
		t.Errorf("no folder: %v, want an error and the old set", err)
	}
	if alone, err := render.Load(filepath.Join(dir, "no-folder"), nil); err == nil || alone.Source(shipped) != "built-in" {
		t.Errorf("no folder at a start: %v, want an error and the built-in ones", err)
	}
}

func TestEqual(t *testing.T) {
	one := folder(t, map[string]string{"a.tmpl": good})
	for want, others := range map[bool][]*render.Set{
		true:  {one, folder(t, map[string]string{"a.tmpl": good})},
		false: {nil, load(t, "", nil), folder(t, map[string]string{"a.tmpl": good + "\n"}), folder(t, map[string]string{"b.tmpl": good})},
	} {
		for i, other := range others {
			if one.Equal(other) != want {
				t.Errorf("Equal %d is not %v", i, want)
			}
		}
	}
	var none *render.Set
	if none.Equal(one) {
		t.Error("no set equals a set")
	}
}

func TestKeep(t *testing.T) {
	old := folder(t, map[string]string{"a.tmpl": good})
	next := folder(t, map[string]string{"a.tmpl": "{{.NoSuchField}}", "b.tmpl": good})
	kept := next.Keep("a.tmpl", old)
	if _, err := try(t, kept, "a.tmpl"); err != nil || kept.Source("a.tmpl") != old.Source("a.tmpl") {
		t.Errorf("a.tmpl: %v from %s, want the old one", err, kept.Source("a.tmpl"))
	}
	if _, err := try(t, kept, "b.tmpl"); err != nil {
		t.Error(err)
	}
	if _, err := try(t, next, "a.tmpl"); err == nil {
		t.Error("Keep changed its receiver")
	}
	if got := fmt.Sprint(next.Keep("b.tmpl", old).Names(), next.Keep("a.tmpl", nil).Names()); got != "[a.tmpl "+shipped+"] [b.tmpl "+shipped+"]" {
		t.Errorf("names %s", got)
	}
}
