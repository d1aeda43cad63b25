package agent

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

func TestRedisAwayAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		sick := s.application()
		s.start()
		after(interval + time.Second)
		s.pool.set(func(f *fakePool) { f.err = errAway })
		sick.Store(true)
		after(interval + 3*time.Second)
		last := s.pool.beats[len(s.pool.beats)-1]
		s.pool.set(func(f *fakePool) { f.err = nil })
		after(2 * time.Second)
		if gap := s.pool.beats[len(s.pool.beats)-1].Sub(last); gap > interval+6*time.Second {
			t.Errorf("%v between heartbeats: Redis was away for 3 s of them", gap)
		}
		for text, want := range map[string]int{"redis fails": 1, "redis is back": 1, "unhealthy": 1} {
			if n := s.log.count(text); n != want {
				t.Errorf("%q %d times in the log, want %d:\n%s", text, n, want, s.log)
			}
		}
		s.wantStop()
	})
}

func TestRedisAwayAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.pool.err = errAway
		s.start()
		after(time.Hour)
		if n := s.log.count("redis fails"); n != 1 {
			t.Errorf("%d lines say that redis fails, want 1", n)
		}
		s.pool.set(func(f *fakePool) { f.err = errors.New("WRONGPASS") })
		after(10 * time.Second)
		if n := s.log.count("WRONGPASS"); n != 1 {
			t.Errorf("another kind of failure is said %d times, want 1", n)
		}
		s.pool.set(func(f *fakePool) { f.err = nil })
		after(7 * time.Second)
		if len(s.pool.registered) != 1 {
			t.Errorf("registered %d times", len(s.pool.registered))
		}
		s.wantStop()
	})
}

func TestStopBeforeRegistered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.pool.err = errAway
		s.start()
		after(time.Minute)
		if took, err := s.stop(); err != nil || took > 0 || len(s.pool.left) > 0 {
			t.Errorf("ended after %v, error %v, left %q", took, err, s.pool.left)
		}
	})
}

func TestStopWhileRedisIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.start()
		after(time.Second)
		s.pool.set(func(f *fakePool) { f.hang = time.Hour })
		after(interval)
		took, err := s.stop()
		if limit := time.Duration(s.agent.settings().DrainTimeout) + 2*callMost; err == nil || took > limit {
			t.Errorf("ended after %v, error %v", took, err)
		}
	})
}

func TestSupersededStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.start()
		after(time.Second)
		s.pool.set(func(f *fakePool) { f.newer = "1700000000000/other:7:ABCDEF" })
		err := <-s.ended
		var newer *pool.SupersededError
		if !errors.As(err, &newer) || newer.By != "1700000000000/other:7:ABCDEF" {
			t.Errorf("error %v", err)
		}
		if len(s.pool.left) > 0 || len(s.pool.registered) != 1 {
			t.Errorf("left %q, registered %d times", s.pool.left, len(s.pool.registered))
		}
		s.cancel()
	})
}

// A try to register that timed out here may be carried out later than the one that counted.
func TestSupersededByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.start()
		after(time.Second)
		s.pool.set(func(f *fakePool) { f.newer = "1700000000000/" + s.agent.instance })
		after(interval)
		if len(s.pool.registered) != 2 {
			t.Errorf("registered %d times, want 2", len(s.pool.registered))
		}
		s.wantStop()
	})
}

// moving gives the node no address of its own; move tells where it is from now on, or why that can't be told.
func (s *site) moving() (move func(address string, err error)) {
	var now netip.Addr
	var nowErr error
	s.agent.cfg.Address = ""
	s.agent.locate = func(context.Context) (netip.Addr, error) {
		s.pool.mu.Lock()
		defer s.pool.mu.Unlock()
		return now, nowErr
	}
	s.agent.atHome = func(a netip.Addr) bool {
		s.pool.mu.Lock()
		defer s.pool.mu.Unlock()
		return a == now
	}
	return func(address string, err error) {
		s.pool.set(func(*fakePool) { now, nowErr = netip.MustParseAddr(address), err })
	}
}

func (s *site) wantAddress(want string) {
	s.t.Helper()
	if s.pool.addr.String() != want {
		s.t.Errorf("address %v, want %s; log:\n%s", s.pool.addr, want, s.log)
	}
}

func TestAddressIsLookedAtAgainAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		move := s.moving()
		s.agent.atHome = func(netip.Addr) bool { return true }
		move("10.0.0.7", nil)
		s.start()
		after(time.Second)
		blink := func() {
			s.pool.set(func(f *fakePool) { f.err = errAway })
			after(interval)
			s.pool.set(func(f *fakePool) { f.err = nil })
			after(interval)
		}
		move("10.0.0.8", nil)
		blink()
		s.wantAddress("10.0.0.8")
		move("127.0.0.1", cli.Usagef("loopback"))
		blink()
		s.wantAddress("10.0.0.8")
		if s.log.count("address kept") == 0 {
			t.Errorf("it does not say that the address is kept:\n%s", s.log)
		}
		s.wantStop()
	})
}

// A connection to Redis that goes with the address may be renewed without a word: then no heartbeat fails.
func TestAddressThatTheMachineHasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		move := s.moving()
		move("10.0.0.7", nil)
		s.start()
		after(time.Second)
		move("10.0.0.8", nil)
		after(interval)
		s.wantAddress("10.0.0.8")
		move("127.0.0.1", cli.Usagef("loopback"))
		after(5 * interval)
		s.wantAddress("10.0.0.8")
		for text, want := range map[string]int{"address kept": 1, "redis fails": 0} {
			if n := s.log.count(text); n != want {
				t.Errorf("%q %d times in the log, want %d:\n%s", text, n, want, s.log)
			}
		}
		s.wantStop()
	})
}

func TestAtHome(t *testing.T) {
	for a, want := range map[string]bool{"127.0.0.1": true, "192.0.2.1": false, "2001:db8::1": false} {
		if got := atHome(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: %v, want %v", a, got, want)
		}
	}
}

func TestNoAddressEndsTheAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.agent.cfg.Address = ""
		s.agent.locate = func(context.Context) (netip.Addr, error) {
			return netip.Addr{}, needAddress("lo:6379", "is a loopback one")
		}
		s.start()
		var wrong *cli.Error
		if err := <-s.ended; !errors.As(err, &wrong) || wrong.Code != cli.Usage {
			t.Errorf("error %v", err)
		}
		s.cancel()
	})
}
