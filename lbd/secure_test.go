package lbd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
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
		if a := f.lastAck(); a.Rev != f.rev || !strings.HasPrefix(a.Error, unremembered) {
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

const unremembered = "can't remember what is served: no drain counts as done until it is, and after a restart the guard begins anew: "

// Where nothing is kept a restart puts nobody back: a node that is out is out, and nobody says otherwise.
func TestADrainCountsWhereNothingIsKept(t *testing.T) {
	var dir string
	nothing := func(c *Config) { // can be written or read there
		dir = archiveIn(c.StateDir).dir
		if err := os.Symlink("nowhere", dir); err != nil {
			t.Fatal(err)
		}
	}
	bubbleWith(t, nothing, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		f.set("web1", "web2", "web3")
		time.Sleep(5 * time.Second)
		f.set("-web3")
		time.Sleep(10 * time.Second)
		if got := e.serving(); got != "web1,web2" {
			t.Fatalf("serving %s", got)
		}
		want := "can't remember what is served: after a restart the guard begins anew: keep generations in " + dir + ": "
		a := f.lastAck()
		if a.Rev != f.rev || !strings.HasPrefix(a.Error, want) {
			t.Errorf("said %+v, want rev %d and %q", a, f.rev, want)
		}
		if s, _ := l.board.read(&l.cfg); len(s.Problems) != 1 || s.Problems[0] != a.Error {
			t.Errorf("problems %q, acked %q", s.Problems, a.Error)
		}
		if got := afterARestart(t, l, f); got != "" {
			t.Errorf("a restart serves %s", got)
		}
	})
}

// Who can't tell what is kept can't tell what a restart puts back.
func TestNoDrainCountsWhereItIsNotKnownWhatIsKept(t *testing.T) {
	bubbleWith(t, func(c *Config) { obstruct(t, archiveIn(c.StateDir), 1) }, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		f.set("web1", "web2")
		time.Sleep(5 * time.Second)
		f.set("-web2")
		time.Sleep(10 * time.Second)
		if a := f.lastAck(); e.serving() != "web1" || a.Rev != 0 || !strings.Contains(a.Error, "a restart of lbd might serve again what was taken out") {
			t.Errorf("serving %s, said %+v", e.serving(), a)
		}
		if s, _ := l.board.read(&l.cfg); len(s.Problems) != 1 || !strings.HasPrefix(s.Problems[0], unremembered) {
			t.Errorf("problems %q", s.Problems)
		}
	})
}

// What can't be kept is logged once as long as the cause lasts, however many generations come.
func TestWhatCantBeKeptIsLoggedOnce(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		f.set("web1", "web2", "web3")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		var log serverstest.Transcript
		l.say.log = slog.New(slog.NewTextHandler(&log, nil))
		end := obstruct(t, l.archive, l.wanted.N+1)
		for _, change := range []string{"web4", "-web3", "web5"} {
			f.set(change)
			time.Sleep(5 * time.Second)
		}
		synctest.Wait()
		if n := strings.Count(log.String(), "can't remember what is served: "); n != 1 || strings.Count(log.String(), "\n") != 1 {
			t.Errorf("said %d times:\n%s", n, log.String())
		}
		end()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if !strings.Contains(log.String(), "what is served is remembered again") {
			t.Errorf("not said to be over:\n%s", log.String())
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
