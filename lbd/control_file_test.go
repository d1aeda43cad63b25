package lbd

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A word of the operator's that can't be read is tried again at each turn, and brings about none: root's file once made an
// lbd of another user ask Redis without a pause.
func TestAPinThatCannotBeReadIsNoHurry(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		f.set("web1", "web2")
		time.Sleep(2 * time.Second)
		f.mu.Lock()
		f.slow = time.Millisecond
		before := f.looks
		f.mu.Unlock()
		if err := os.Mkdir(l.pins.path, 0o700); err != nil { // nobody can read that, root neither
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		f.mu.Lock()
		looks := f.looks - before
		f.mu.Unlock()
		if looks > 10 { // a turn at each resync, and one for the file
			t.Errorf("%d looks in a minute", looks)
		}
		if s, _ := l.board.read(&l.cfg); s.Pinned == nil || !strings.Contains(strings.Join(s.Problems, "\n"), "pinned") {
			t.Errorf("status %+v", s)
		}
		if err := os.Remove(l.pins.path); err != nil {
			t.Fatal(err)
		}
		f.set("web3")
		time.Sleep(2 * time.Second)
		if got := e.serving(); got != "web1,web2,web3" {
			t.Errorf("served after the pin is gone: %s", got)
		}
	})
}

// What root says to an lbd of another user is that user's to read.
func TestAFileOfTheStateFolderIsItsOwners(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	owner := os.Geteuid()
	if owner == 0 {
		owner = 65534
		if err := os.Chown(dir, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	file := pinFile(dir)
	if err := file.write(&pin{Generation: 1}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file.path)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != owner || info.Mode().Perm() != 0o600 {
		t.Errorf("%s is user %d's, mode %v; the folder is %d's", file.path, st.Uid, info.Mode(), owner)
	}
}
