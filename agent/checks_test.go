package agent

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// everySecond is application with a timing.
func (s *site) everySecond(fall, rise int) (sick *atomic.Bool) {
	sick = s.application()
	plain := s.agent.checks.copied()["app"].fn
	s.agent.HealthCheck("app", func(ctx context.Context) error { _, err := plain(ctx); return err },
		Timing{Interval: Duration(time.Second), Fall: fall, Rise: rise})
	return sick
}

// A booting application is not an unwell one: the node gets traffic from its first good answer.
func TestActiveOnceItsChecksHavePassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		sick := s.everySecond(3, 3)
		sick.Store(true)
		s.start()
		after(10 * time.Second)
		const no = "check app: no answer from the application"
		s.wantTold(no)
		sick.Store(false)
		after(time.Second + spread)
		s.wantTold(no + " > ")
		s.wantStop()
	})
}

func TestFallAndRiseOfACheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		sick := s.everySecond(3, 2)
		s.start()
		after(10 * time.Second)
		s.wantTold("")
		const no = " > check app: no answer from the application"
		sick.Store(true)
		after(1900 * time.Millisecond)
		s.wantTold("") // twice is not enough
		after(1200 * time.Millisecond)
		s.wantTold(no)
		sick.Store(false)
		after(900 * time.Millisecond)
		s.wantTold(no)
		after(1200 * time.Millisecond)
		s.wantTold(no + " > ")
		sick.Store(true)
		after(4 * time.Second)
		s.wantTold(no + " > " + no + " (flapping: back after 4 good in a row)")
		if n := s.log.count("check app flaps"); n != 1 {
			t.Errorf("the log says %d times that it flaps", n)
		}
		sick.Store(false)
		after(2 * time.Second)
		if said := s.agent.checks.askAll(t.Context()); !strings.HasPrefix(said["app"], "ok, ") || !strings.HasSuffix(said["app"], " of 4 in a row") {
			t.Errorf("said %q", said)
		}
		s.wantStop()
	})
}

// Twenty checks with one interval do not run at the same moment, and go on at that interval.
func TestChecksAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		var runs [20]atomic.Int64
		seconds := map[int64]int{}
		for i := range runs {
			s.agent.HealthCheck(string(rune('a'+i)), func(context.Context) error { runs[i].Add(1); return nil })
		}
		s.start()
		after(2 * interval)
		for range 10 {
			before := total(&runs)
			after(time.Second)
			seconds[total(&runs)-before]++
		}
		for n := range seconds {
			if n > 15 {
				t.Errorf("%d of 20 checks in one second of ten", n)
			}
		}
		was := total(&runs)
		after(10 * interval)
		if n := total(&runs) - was; n < 195 || n > 205 {
			t.Errorf("%d runs in ten intervals of 20 checks", n)
		}
		s.wantStop()
	})
}

func total(runs *[20]atomic.Int64) (n int64) {
	for i := range runs {
		n += runs[i].Load()
	}
	return n
}

func TestReloadOfChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Nothing listens on port 1.
		down := func(name string) Check { return Check{Name: name, TCP: &TCPCheck{Address: "127.0.0.1:1"}} }
		good := func(name string) Check {
			return Check{Name: name, Disk: &DiskCheck{Path: "/", MinFree: Amount{Bytes: 1}}}
		}
		s := newSite(t, func(c *Config) { c.Checks = []Check{down("gone"), good("stays")} })
		sick := s.application()
		s.start()
		after(time.Second)
		const refused = ": dial tcp 127.0.0.1:1: connect: connection refused"
		s.wantTold("check gone" + refused)
		reload := func(checks ...Check) {
			t.Helper()
			next := *s.agent.settings()
			next.Checks = checks
			if restart, err := s.agent.Reload(next); err != nil || len(restart) > 0 {
				t.Fatalf("restart for %q, error %v", restart, err)
			}
		}
		kept := s.agent.checks.copied()["stays"]
		reload(good("stays"))
		after(time.Second)
		s.wantTold("check gone" + refused + " > ")
		if s.agent.checks.copied()["stays"] != kept {
			t.Error("a check that was not changed begins anew")
		}
		// A check that is new does not freeze a node that is well before it has failed as often as it may.
		reload(good("stays"), down("new"))
		after(time.Second)
		s.wantTold("check gone" + refused + " > ")
		after(interval + time.Second)
		s.wantTold("check gone" + refused + " >  > check new" + refused)
		// One that is mended is believed at its first good answer.
		reload(good("stays"), good("new"))
		after(time.Second)
		s.wantTold("check gone" + refused + " >  > check new" + refused + " > ")
		// The program's own stay.
		sick.Store(true)
		after(interval + time.Second)
		if !strings.HasSuffix(s.told(), " > check app: no answer from the application") {
			t.Errorf("told %q", s.told())
		}
		s.wantStop()
	})
}

func TestCheckThatAnswersAfterItWasReplacedCountsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		late := make(chan struct{})
		s.agent.HealthCheck("app", func(context.Context) error { <-late; return errSick })
		s.start()
		after(time.Second)
		s.agent.HealthCheck("app", func(context.Context) error { return nil })
		after(time.Second)
		close(late)
		after(firstMost)
		s.wantTold("")
		s.wantStop()
	})
}

// After a restart a node that was too busy is not sent traffic before samples say that it is well.
func TestOwnFreezeOutlivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.application()
		s.pool.known = &pool.Node{SelfFreeze: "cpu 97.0% is above 90%; check app: refused; memory is nobody's"}
		s.machine.set(10, 10)
		s.start()
		after(time.Second)
		const hot = "cpu 97.0% is above 90%"
		s.wantTold(hot)
		after(2 * interval)
		s.wantTold(hot)
		after(interval)
		s.wantTold(hot + " > ")
		s.wantStop()
	})
}
