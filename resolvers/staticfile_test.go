package resolvers

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// staticFile makes a resolver for a file that says of a that it is at 10.0.0.1.
func staticFile(t *testing.T) (s *StaticFile, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "nodes.yaml")
	replaceFile(t, path, "a: 10.0.0.1\n")
	s, err := NewStaticFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, path
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// replaceFile writes as editors do.
func replaceFile(t *testing.T, path, text string) {
	t.Helper()
	writeFile(t, path+".new", text)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// hasAddress fails the test unless a is at addr; broken says whether the file can't be read now.
func (f *StaticFile) hasAddress(t *testing.T, addr string, broken bool) {
	t.Helper()
	got, err := f.Resolve(t.Context(), nodes("a"))
	if got["a"].Addr.String() != addr || (err != nil) != broken {
		t.Errorf("got %v, %v; want %s, broken %t", got, err, addr, broken)
	}
}

func TestStaticFileIsReadAgain(t *testing.T) {
	if _, err := NewStaticFile(filepath.Join(t.TempDir(), "nodes.yaml")); err == nil {
		t.Fatal("a missing file is an error at the start")
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, t.TempDir()} {
		if _, err := NewStaticFile(path); err == nil || !strings.Contains(err.Error(), "is not a file") {
			t.Errorf("%s: %v", path, err)
		}
	}
	s, path := staticFile(t)
	s.hasAddress(t, "10.0.0.1", false)
	replaceFile(t, path, `{"a": "10.0.0.22"}`)
	s.hasAddress(t, "10.0.0.22", false)
	// Of the same length, in place, within one tick of the file's clock.
	for i := range 50 {
		addr := fmt.Sprintf("10.0.1.%02d", i+10)
		writeFile(t, path, "a: "+addr)
		s.hasAddress(t, addr, false)
	}
}

func TestABrokenStaticFileChangesNothing(t *testing.T) {
	s, path := staticFile(t)
	for _, broken := range []string{"", "# all out\n", "a: [", "a: localhost", "[10.0.0.2]", "a: 10.0.0.2\na: 10.0.0.3", "unix: {path: /run/x}"} {
		replaceFile(t, path, broken)
		s.hasAddress(t, "10.0.0.1", true)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s.hasAddress(t, "10.0.0.1", true)
	// Who is not in it could be by now: that can't be known.
	c := newChain(t, Link{Name: "static", Resolver: s})
	if got := resolve(t, c, "a", "b"); !got["a"].Found() || got["b"].Err == nil || !strings.Contains(got["b"].Err.Error(), "no such file") {
		t.Errorf("%+v", got)
	}
	replaceFile(t, path, "{}")
	if got, err := s.Resolve(t.Context(), nodes("a")); err != nil || len(got) != 0 {
		t.Errorf("an empty list: %v, %v", got, err)
	}
}

// A change is told of at once, in all the ways in which files change.
func TestStaticFileTellsOfChanges(t *testing.T) {
	dir := t.TempDir()
	generation := func(name, addr string) { // as kubelet lays out a configmap
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, name, "nodes.yaml"), "a: "+addr)
		link := filepath.Join(dir, "..data_tmp")
		if err := os.Symlink(name, link); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	generation("..2026_01", "10.0.0.1")
	path := filepath.Join(dir, "nodes.yaml")
	if err := os.Symlink("..data/nodes.yaml", path); err != nil {
		t.Fatal(err)
	}
	s, err := NewStaticFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	told := func(how, addr string) {
		t.Helper()
		for end := time.After(time.Minute); ; {
			select {
			case <-s.Changed():
			case <-end:
				t.Fatalf("%s: not told", how)
			}
			if got, err := s.Resolve(t.Context(), nodes("a")); err == nil && got["a"].Addr.String() == addr {
				return // else it was of what came before
			}
		}
	}
	told("at the start", "10.0.0.1")
	generation("..2026_02", "10.0.0.2")
	told("configmap", "10.0.0.2")
	replaceFile(t, path, "a: 10.0.0.3")
	told("editor", "10.0.0.3")
	writeFile(t, path, "a: 10.0.0.4")
	told("in place", "10.0.0.4")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, "a: 10.0.0.5") // tar, kubectl cp
	told("anew", "10.0.0.5")
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir + ".old")
	writeFile(t, path, "a: 10.0.0.6")
	told("another folder", "10.0.0.6")
	replaceFile(t, path, "a: 10.0.0.7")
	told("in the other folder", "10.0.0.7")
}

func FuzzStaticFile(f *testing.F) {
	for _, seed := range []string{"a: 10.0.0.1\n", `{"a": "[fd00::1]:80", "b": "10.0.0.2:81"}`, "a: &x 1\nb: *x", "{}", "", "a: 10.0.0.1%eth0", "? [a]\n: b", "a: !!binary Cg=="} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		list, err := decodeStatic(src)
		if (list == nil) == (err == nil) {
			t.Fatalf("%v, %v", list, err)
		}
		for id, e := range list {
			if err := pool.CheckID(id); err != nil {
				t.Error(err)
			}
			if !e.Addr.IsValid() || e.Addr.Zone() != "" || e.Addr.Is4In6() || e.Weight != 0 {
				t.Errorf("%s is at %+v", id, e)
			}
		}
	})
}
