package agent

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

const interval = 10 * time.Second // of heartbeats, by default

func TestThresholdsFreezeAndUnfreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.machine.set(99, 10) // the first sample has no interval behind it
		s.start()
		after(interval + time.Second)
		s.wantTold("") // one bad sample is noise
		s.machine.set(95.04, 10)
		after(interval)
		const hot = " > cpu 95.0% is above 90%"
		s.wantTold(hot)
		s.machine.set(99.9, 90)
		after(interval)
		s.wantTold(hot) // another figure is no change
		after(interval)
		both := hot + hot + "; memory 90.0% is above 85%"
		s.wantTold(both)
		s.machine.set(90, 85) // at the threshold is not above it
		after(2 * interval)
		s.wantTold(both)
		after(interval)
		s.wantTold(both + " > ")
		s.wantStop()
		if n := s.log.count("unhealthy: cpu"); n != 2 {
			t.Errorf("%d lines of the log say unhealthy, want one for each change:\n%s", n, s.log)
		}
	})
}

func TestThresholdCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, func(c *Config) { c.ThresholdFall, c.ThresholdRise = 1, 2 })
		s.start()
		after(interval + time.Second)
		s.machine.set(99, 10)
		after(interval)
		const hot = " > cpu 99.0% is above 90%"
		s.wantTold(hot)
		s.machine.set(10, 10)
		after(interval)
		s.wantTold(hot)
		after(interval)
		s.wantTold(hot + " > ")

		next := s.agent.cfg
		next.ThresholdFall = 3
		if restart, err := s.agent.Reload(next); err != nil || len(restart) > 0 {
			t.Fatalf("Reload: %v, %v", restart, err)
		}
		s.machine.set(10, 99)
		after(2 * interval)
		s.wantTold(hot + " > ")
		after(interval)
		s.wantTold(hot + " >  > memory 99.0% is above 85%")
		s.wantStop()
	})
}

func TestOperatorsFreezeStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		sick := s.application()
		sick.Store(true)
		freeze := &pool.Freeze{By: "eve", Reason: "new disk"}
		s.pool.freeze = freeze
		s.start()
		after(interval + time.Second)
		sick.Store(false)
		after(3 * interval)
		s.wantTold("check app: no answer from the application > ")
		if s.pool.freeze != freeze {
			t.Errorf("the operator's freeze became %v", s.pool.freeze)
		}
		if s.log.count("frozen by eve: new disk") != 1 {
			t.Errorf("log:\n%s", s.log)
		}
		s.wantStop()
	})
}

func TestChecksHoldUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		release := make(chan struct{})
		s.agent.HealthCheck("deaf", func(context.Context) error { <-release; return nil })
		s.agent.HealthCheck("broken", func(context.Context) error { panic("no such table") })
		s.agent.HealthCheck("slow", func(ctx context.Context) error { <-ctx.Done(); return nil })
		s.agent.HealthCheck("app", func(context.Context) error { return nil })
		began := time.Now()
		s.start()
		after(time.Duration(timeoutMost) + 4*spread)
		// Not registered as well before the checks have answered.
		if len(s.pool.registered) != 1 {
			t.Fatalf("registered %d times after %v", len(s.pool.registered), time.Since(began))
		}
		reason := s.told()
		for _, want := range []string{"check broken: panicked: no such table; check deaf: no answer within 5s"} {
			if !strings.Contains(reason, want) {
				t.Errorf("reason %q, want %q in it", reason, want)
			}
		}
		after(10 * interval)
		for i, at := range s.pool.beats {
			if want := time.Duration(i) * interval; at.Sub(s.pool.beats[0]) != want {
				t.Errorf("heartbeat %d after %v, want %v", i, at.Sub(s.pool.beats[0]), want)
			}
		}
		if n := len(s.pool.beats); n < 10 {
			t.Errorf("%d heartbeats", n)
		}
		s.wantStop()
		close(release)
	})
}

func TestHangingSamplerHoldsUpNoHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := newSite(t, func(c *Config) {
			c.Sampler = func(context.Context) (pool.Metrics, error) { <-release; return pool.Metrics{}, errors.New("late") }
		})
		s.start()
		after(4*interval + time.Second)
		if n := len(s.pool.beats); n != 5 {
			t.Errorf("%d heartbeats, want 5", n)
		}
		if s.log.count("no figures of this machine") != 1 {
			t.Errorf("log:\n%s", s.log)
		}
		close(release)
		s.wantStop()
	})
}

func TestReasonIsBoundedAndStable(t *testing.T) {
	h := newHealth(slog.New(slog.DiscardHandler), &Config{CPUThreshold: 90, MemoryThreshold: 85, ThresholdFall: 1, ThresholdRise: 1})
	a, z := &judge{fall: 1, rise: 1}, &judge{fall: 1, rise: 1}
	h.watch("z", z, true)
	h.watch("a", a, true)
	h.result("z", z, errors.New("first\x1b[31m"))
	h.result("z", z, errors.New("second"))
	h.result("a", a, errors.New(strings.Repeat("x", 1000)))
	got := h.reason()
	if want := "check a: " + strings.Repeat("x", whyMost) + `…; check z: first\x1b[31m`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, func(c *Config) { c.Labels = map[string]string{"zone": "a"} })
		s.start()
		after(interval + time.Second)
		next := s.agent.cfg
		next.Labels = map[string]string{"zone": "b"}
		next.CPUThreshold, next.NodePort, next.Redis.URL, next.Start = 50, 9000, "redis://10.0.0.9:6379/0", StartFrozen
		restart, err := s.agent.Reload(next)
		if err != nil || strings.Join(restart, " ") != "redis start" {
			t.Errorf("restart for %q, error %v", restart, err)
		}
		after(time.Second)
		if reg := s.pool.reg; reg.Labels["zone"] != "b" || reg.Port != 9000 {
			t.Errorf("registered %+v", reg)
		}
		s.machine.set(60, 0)
		after(fall * interval)
		s.wantTold(" > cpu 60.0% is above 50%")
		next.CPUThreshold, next.MemoryThreshold, next.Weight = 99, 0, 7
		if _, err := s.agent.Reload(next); err == nil {
			t.Error("a bad config is taken")
		}
		after(interval)
		if s.pool.reg.Weight != 1 {
			t.Errorf("a bad config changed the weight to %d", s.pool.reg.Weight)
		}
		s.wantTold(" > cpu 60.0% is above 50%")
		next = *s.agent.settings()
		next.HeartbeatInterval = Duration(time.Second)
		if restart, err := s.agent.Reload(next); err != nil || len(restart) > 0 {
			t.Errorf("restart for %q, error %v", restart, err)
		}
		beats := func() (n int) {
			s.pool.set(func(f *fakePool) { n = len(f.beats) })
			return n
		}
		was := beats()
		after(10 * time.Second)
		if n := beats() - was; n < 9 {
			t.Errorf("%d heartbeats in 10 s", n)
		}
		s.wantStop()
	})
}

func TestSystemSample(t *testing.T) {
	s := &system{dir: "/no/such/folder"}
	for range 2 {
		m, err := s.sample(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if m.Memory <= 0 || m.Memory >= 100 || m.Disk <= 0 || m.Disk > 100 || m.CPU < 0 || m.CPU > 100 {
			t.Errorf("sample %+v", m)
		}
	}
	if got := bounds(pool.Metrics{CPU: math.NaN(), Memory: math.Inf(1), Disk: 12.345}); got != (pool.Metrics{Memory: 100, Disk: 12.3}) {
		t.Errorf("bounds: %+v", got)
	}
}
