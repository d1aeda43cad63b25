package agent

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

const draining = " > drains: its agent stops"

// drains makes the pool know a load balancer; it has drained when the returned func is called.
func (s *site) drains() (drained func()) {
	served := make(chan struct{})
	s.pool.drain = func(ctx context.Context, report func([]pool.Blocker)) error {
		blockers := []pool.Blocker{{LB: "lb1", Why: "still serves rev 1"}}
		report(blockers)
		select {
		case <-served:
			return nil
		case <-ctx.Done():
			return &pool.WaitError{Blockers: blockers, Err: ctx.Err()}
		}
	}
	return func() { close(served) }
}

func TestDrain(t *testing.T) {
	for _, c := range []struct {
		name  string
		end   func(s *site, drained func())
		after time.Duration // since the signal
		says  string
	}{
		{"until the load balancers have acked", func(_ *site, drained func()) { after(25 * time.Second); drained() }, 25 * time.Second, "drained: no load balancer"},
		{"until the deadline", func(*site, func()) {}, 30 * time.Second, "lb1: still serves rev 1"},
		{"until a second signal", func(s *site, _ func()) { after(12 * time.Second); s.agent.LeaveNow(); s.agent.LeaveNow() }, 12 * time.Second, "leaves before it is drained"},
		{"not if told before", func(s *site, _ func()) { s.agent.LeaveNow() }, 0, "leaves before it is drained"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				drained := s.drains()
				s.start()
				after(interval + time.Second)
				began := time.Now()
				s.cancel()
				c.end(s, drained)
				if err := <-s.ended; err != nil {
					t.Errorf("run: %v", err)
				}
				// The wait for a command may go on for a second.
				if took := time.Since(began); took < c.after || took > c.after+takeWait {
					t.Errorf("left after %v, want %v", took, c.after)
				}
				s.wantTold(draining)
				// Silence would take it out of traffic, too, but lbd would call it dead.
				for i, at := range s.pool.beats[1:] {
					if gap := at.Sub(s.pool.beats[i]); gap > interval {
						t.Errorf("%v between two heartbeats", gap)
					}
				}
				if last := s.pool.beats[len(s.pool.beats)-1]; time.Since(last) > interval {
					t.Errorf("no heartbeat for %v before it left", time.Since(last))
				}
				if s.log.count(c.says) != 1 || len(s.pool.left) != 1 {
					t.Errorf("left %q; log:\n%s", s.pool.left, s.log)
				}
			})
		})
	}
}

// A guard that holds one of the last nodes will not let go of it soon.
func TestDrainOfALastNodeIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.pool.drain = func(ctx context.Context, report func([]pool.Blocker)) error {
			began := time.Now()
			blockers := []pool.Blocker{{LB: "lb1", Why: "holds n1", Holds: true}, {LB: "lb2", Why: "silent"}}
			for ctx.Err() == nil {
				report(blockers)
				time.Sleep(250 * time.Millisecond)
				if time.Since(began) > 10*time.Second {
					blockers = blockers[:1]
				}
			}
			return &pool.WaitError{Blockers: blockers, Err: ctx.Err()}
		}
		s.start()
		after(time.Second)
		took, err := s.stop()
		if err != nil || took < 15*time.Second || took > 16*time.Second {
			t.Errorf("left after %v, error %v; want 10 s for the silent one and %v more", took, err, heldMost)
		}
		if s.log.count("lb1: holds n1") != 1 {
			t.Errorf("log:\n%s", s.log)
		}
	})
}

func TestNoDrain(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *site)
		says   string
	}{
		"no load balancer is known": {func(s *site) { s.pool.drain = nil }, "leaves at once: no load balancer is known"},
		"told not to": {func(s *site) {
			next := *s.agent.settings()
			next.DrainTimeout = 0
			if _, err := s.agent.Reload(next); err != nil {
				s.t.Error(err)
			}
		}, "left the pool"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				s.drains()
				s.start()
				after(time.Second)
				c.change(s)
				after(time.Second)
				s.wantStop()
				s.wantTold("") // no freeze, which would be one event more
				if s.log.count(c.says) != 1 {
					t.Errorf("log:\n%s", s.log)
				}
			})
		})
	}
}

// A Redis that fails just at the signal is tried on: a node that gave up at once would be stopped under traffic.
func TestDrainWhileRedisFails(t *testing.T) {
	for name, c := range map[string]struct {
		then func(s *site)
		took time.Duration
		left int
	}{
		"for a moment":          {func(s *site) { after(5 * time.Second); s.pool.set(func(f *fakePool) { f.err = nil }) }, 6500 * time.Millisecond, 1},
		"for good":              {func(*site) {}, 30 * time.Second, 0},
		"until a second signal": {func(s *site) { after(3500 * time.Millisecond); s.agent.LeaveNow() }, 3500 * time.Millisecond, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				s.drains()() // as soon as it is asked to
				s.start()
				after(interval + time.Second)
				s.pool.set(func(f *fakePool) { f.err = errAway })
				began := time.Now()
				s.cancel()
				c.then(s)
				err := <-s.ended
				if took := time.Since(began); took > c.took || took < c.took-1500*time.Millisecond {
					t.Errorf("ended after %v, want %v", took, c.took)
				}
				if (err == nil) != (c.left == 1) || len(s.pool.left) != c.left || s.log.count("redis fails") != 1 {
					t.Errorf("error %v, left %q; log:\n%s", err, s.pool.left, s.log)
				}
				if c.left == 1 {
					s.wantTold(draining)
				}
			})
		})
	}
}

// The leave, too, and without a load balancer to wait for.
func TestLeaveWhileRedisFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.start()
		after(interval + time.Second)
		s.pool.set(func(f *fakePool) { f.err = errAway })
		s.cancel()
		after(10 * time.Second)
		s.pool.set(func(f *fakePool) { f.err = nil })
		if err := <-s.ended; err != nil || len(s.pool.left) != 1 {
			t.Errorf("error %v, left %q", err, s.pool.left)
		}
	})
}

func TestNewerAgentWhileItDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.drains()
		s.start()
		after(time.Second)
		s.cancel()
		after(time.Second)
		s.pool.set(func(f *fakePool) { f.newer = "1700000000000/other:7:ABCDEF" })
		var newer *pool.SupersededError
		if err := <-s.ended; !errors.As(err, &newer) || len(s.pool.left) > 0 {
			t.Errorf("error %v, left %q", err, s.pool.left)
		}
	})
}

// A newer agent that came between the last heartbeat and the end is said as such.
func TestNewerAgentAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.start()
		after(time.Second)
		s.pool.set(func(f *fakePool) { f.newer = "1700000000000/other:7:ABCDEF" })
		_, err := s.stop()
		if want := (&pool.SupersededError{ID: "n1", By: "1700000000000/other:7:ABCDEF"}).Error(); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	})
}

// An answer that is slow is waited for: the node is registered, so it has to leave.
func TestStopWhileItRegisters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.pool.hang = callMost - time.Second
		s.start()
		after(callMost) // it has looked, and registers
		s.wantTold("")
		s.cancel()
		s.pool.set(func(f *fakePool) { f.hang = 0 })
		if err := <-s.ended; err != nil || len(s.pool.registered) != 1 || len(s.pool.left) != 1 {
			t.Errorf("error %v, registered %d times, left %q", err, len(s.pool.registered), s.pool.left)
		}
	})
}

// A try that had no answer may be carried out when Redis goes on: the node must not stay behind.
func TestStopAfterATryThatHadNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.pool.hang = 2 * time.Second
		s.start()
		after(time.Second) // it looks, which takes one more
		s.pool.set(func(f *fakePool) { f.hang = time.Hour })
		after(callMost + 1500*time.Millisecond)
		if s.log.count("redis fails") != 1 {
			t.Errorf("log:\n%s", s.log)
		}
		s.pool.set(func(f *fakePool) { f.hang = 0 })
		if _, err := s.stop(); err != nil || len(s.pool.registered) != 1 || len(s.pool.left) != 1 {
			t.Errorf("error %v, registered %d times, left %q", err, len(s.pool.registered), s.pool.left)
		}
	})
}
