package lbd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// obstruct makes that no generation can be written, while those that are kept can be read, as on a full disk; end ends it.
func obstruct(t *testing.T, a archive, next int64) (end func()) {
	t.Helper()
	paths := []string{a.installed()}
	for n := range int64(5) {
		paths = append(paths, a.verified(next+n))
	}
	for _, path := range paths {
		if err := os.MkdirAll(filepath.Join(path, "in the way"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		for _, path := range paths {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// afterARestart is what an lbd serves that starts while Redis is away.
func afterARestart(t *testing.T, l *LB, f *fakePool) string {
	t.Helper()
	next, err := New(l.cfg, silent)
	if err != nil {
		t.Fatal(err)
	}
	defer next.chain.Close()
	if err := next.pool.Close(); err != nil {
		t.Fatal(err)
	}
	e := &fakeEngine{start: time.Now(), refuse: func(string) error { return nil }}
	next.pool, next.engine = &fakePool{away: errors.New("connection refused")}, e
	next.lookBack()
	next.turn(context.Background())
	return e.serving()
}

// A node is not said to be out as long as a restart of lbd, with Redis away, would put it back.
func TestARestartUndoesNoDrain(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		f.set("web1", "web2", "web3")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		end := obstruct(t, l.archive, l.wanted.N+1)
		f.set("web4") // nobody is out by this, and it may be said
		time.Sleep(2 * time.Second)
		if a := f.lastAck(); a.Rev != f.rev || a.Error != "" {
			t.Errorf("a node came in: %+v, want rev %d", a, f.rev)
		}
		known := f.rev
		f.set("-web3")
		time.Sleep(10 * time.Second)
		if got := e.serving(); got != "web1,web2,web4" {
			t.Fatalf("serving %s", got)
		}
		if a := f.lastAck(); a.Rev != known || !strings.Contains(a.Error, "a restart of lbd might serve again what was taken out") {
			t.Errorf("said rev %d: %s; a restart serves %s", a.Rev, a.Error, afterARestart(t, l, f))
		}
		if s, _ := l.board.read(&l.cfg); len(s.Problems) != 1 || !strings.HasPrefix(s.Problems[0], unremembered) {
			t.Errorf("problems %q", s.Problems)
		}
		end()
		time.Sleep(3 * time.Second)
		if a := f.lastAck(); a.Rev != f.rev || a.Error != "" {
			t.Errorf("once it can be remembered: %+v, want rev %d", a, f.rev)
		}
		if s, _ := l.board.read(&l.cfg); len(s.Problems) != 0 {
			t.Errorf("problems once it can be remembered: %q", s.Problems)
		}
		if got := afterARestart(t, l, f); got != "web1,web2,web4" {
			t.Errorf("a restart serves %s", got)
		}
	})
}

// What is acked is remembered at that moment, however fast changes come, and of a burst one generation is kept.
func TestWhatIsAckedIsRemembered(t *testing.T) {
	bubbleWith(t, func(c *Config) { c.Timing.MinInterval = time.Minute }, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		f.set("web1", "web2", "web3", "web4")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		var said []string
		f.mu.Lock()
		f.onAck = func(rev int64) { said = append(said, fmt.Sprint(rev, " ", afterARestart(t, l, f))) }
		f.mu.Unlock()
		// As by a live engine, which does not wait for min_interval.
		e.mu.Lock()
		e.quick = true
		e.mu.Unlock()
		before, _ := l.archive.numbers()
		for _, id := range []string{"-web2", "-web3"} {
			f.set(id)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		want := []string{"3 web1,web3,web4", "4 web1,web4"}
		if strings.Join(said, ", ") != strings.Join(want, ", ") {
			t.Errorf("said, and what a restart then serves: %q, want %q", said, want)
		}
		if now, _ := l.archive.numbers(); len(now) > len(before)+1 {
			t.Errorf("kept %v, before that %v", now, before)
		}
		f.mu.Lock()
		f.onAck = nil
		f.mu.Unlock()
	})
}

// An error is the same each time that a file can't be written: it is logged when it is new.
func TestWriteStateNamesTheFile(t *testing.T) {
	top := t.TempDir()
	for _, in := range []string{top, filepath.Join(top, "none")} {
		path := filepath.Join(in, "a.json")
		if in == top {
			if err := os.MkdirAll(filepath.Join(path, "in the way"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		first, second := writeState(path, nil), writeState(path, nil)
		if first == nil || second == nil || first.Error() != second.Error() || !strings.Contains(first.Error(), path+": ") {
			t.Errorf("%v, then %v", first, second)
		}
	}
}
