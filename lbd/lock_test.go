package lbd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writer is the config of an lbd with a state folder of its own.
func writer(t *testing.T, outputs ...string) Config {
	t.Helper()
	c := DefaultConfig()
	c.ID, c.StateDir, c.Status.Listen = "lb1", t.TempDir(), ""
	for i, o := range outputs {
		u := defaultUpstream()
		u.Name, u.Output = fmt.Sprint("u", i), o
		c.Upstreams = append(c.Upstreams, u)
	}
	return c
}

func filesIn(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

// Two lbds with state folders of their own, and one output: the second one is told who writes it.
func TestOneLBDWritesAnOutput(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	a, b := filepath.Join(dir, "a.conf"), filepath.Join(dir, "b.conf")
	link := filepath.Join(elsewhere, "link.conf")
	if err := os.Symlink(a, link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	first := writer(t, a)
	unlock, err := first.lock()
	if err != nil {
		t.Fatal(err)
	}
	me := fmt.Sprintf("another lbd, process %d, ", os.Getpid())
	for _, outputs := range [][]string{{a}, {link}, {b, link}} {
		c := writer(t, outputs...)
		if _, err := c.lock(); err == nil || !strings.Contains(err.Error(), me+"writes "+outputs[len(outputs)-1]) {
			t.Errorf("%q: %v", outputs, err)
		}
		if free, err := lock(c.StateDir); err != nil {
			t.Errorf("the state folder of one that was refused: %v", err)
		} else {
			free()
		}
	}
	same := writer(t, b)
	same.StateDir = first.StateDir
	if _, err := same.lock(); err == nil || !strings.Contains(err.Error(), me+"works with state_dir "+first.StateDir+": stop it") {
		t.Errorf("with the same state folder: %v", err)
	}
	// Other files of the folder are others'; where nothing can be written nobody is in the way; and a link to one's own
	// output is not another's.
	for _, outputs := range [][]string{{b}, {"/no/such/folder/x.conf"}, {"/proc/x.conf"}} {
		c := writer(t, outputs...)
		free, err := c.lock()
		if err != nil {
			t.Fatalf("%q: %v", outputs, err)
		}
		free()
	}
	unlock()
	twice := writer(t, a, link)
	free, err := twice.lock()
	if err != nil {
		t.Fatalf("the first one has ended: %v", err)
	}
	free()
	if left := filesIn(t, dir); left != "a.conf" {
		t.Errorf("left behind: %s", left)
	}
}

// A config that takes another lbd's output is refused at SIGHUP, while the former one still holds its own.
func TestNoConfigFollowsThatTakesAnothersOutput(t *testing.T) {
	dir := t.TempDir()
	mine, theirs := filepath.Join(dir, "mine.conf"), filepath.Join(dir, "theirs.conf")
	other := writer(t, theirs)
	unlock, err := other.lock()
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	cfg := writer(t, mine)
	held, err := cfg.lock()
	if err != nil {
		t.Fatal(err)
	}
	defer held()
	made := func(outputs ...string) *LB {
		c := writer(t, outputs...)
		c.StateDir = cfg.StateDir
		l, err := New(c, silent)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	old := made(mine)
	if err := made(mine, filepath.Join(dir, "more.conf")).canFollow(old); err != nil {
		t.Errorf("with one more: %v", err)
	}
	if err := made(mine, theirs).canFollow(old); err == nil || !strings.Contains(err.Error(), "writes "+theirs) {
		t.Errorf("with another's: %v", err)
	}
}
