package lbd

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bazbeans/bazbeans/step"
)

// set changes what the Nginx does from now on.
func (e *fakeEngine) set(change func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change()
}

// While what somebody else put in the place of our files can't be replaced, nobody is told that Nginx serves what was proven.
func TestNothingIsClaimedOfForeignFiles(t *testing.T) {
	for _, foreign := range []bool{true, false} {
		bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
			f.set("web1", "web2")
			time.Sleep(2 * time.Second)
			f.set("-web2")
			time.Sleep(2 * time.Second)
			if a := f.lastAck(); a.Blind || a.Rev != f.rev {
				t.Fatalf("ack %+v", a)
			}
			e.set(func() {
				e.foreign = foreign
				e.refuse = func(string) error { return step.Errorf(step.Install, "", "%w", errors.New("read-only file system")) }
			})
			time.Sleep(l.cfg.Timing.Resync + time.Second)
			synctest.Wait()
			s, _ := l.board.read(&l.cfg)
			if a := f.lastAck(); a.Blind != foreign || a.Error == "" || (s.Running == 0) != foreign {
				t.Errorf("foreign %v: ack %+v, status %+v", foreign, a, s)
			}
			e.set(func() { e.refuse = func(string) error { return nil } })
			time.Sleep(time.Minute)
			synctest.Wait()
			s, _ = l.board.read(&l.cfg)
			if a := f.lastAck(); a.Blind || a.Error != "" || s.Running != s.Wanted {
				t.Errorf("foreign %v: ack %+v, status %+v in the end", foreign, a, s)
			}
		})
	}
}

// An Nginx that was started anew has read the files anew: nothing is said of it before they were looked at.
func TestNothingIsClaimedOfAnotherNginx(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		f.set("web1")
		time.Sleep(2 * time.Second)
		said := make(chan bool, 10)
		e.set(func() {
			e.master = 2
			e.refuse = func(string) error { said <- f.lastAck().Blind; return nil }
		})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(said) != 1 || !<-said {
			t.Error("while the other one was looked at, nginx was said to serve what was proven before")
		}
		if a := f.lastAck(); a.Blind {
			t.Errorf("ack %+v", a)
		}
	})
}
