package resolvers

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestCacheAnswersAtOnceWhileFresh(t *testing.T) {
	cached(t, 8, 1, func(t *testing.T, c *Cache, s *source) {
		s.say("none", finding{err: ErrNotMine})
		s.say("bad", finding{err: &RefusedError{Why: "no address"}})
		want(t, c, "a", "10.0.0.1", s.takes)
		want(t, c, "none", "not mine", s.takes)
		want(t, c, "bad", "no address", s.takes)
		s.say("a", foundAt("10.0.0.2"))
		for range 40 { // a second each: up to where it may be renewed
			time.Sleep(time.Second)
			want(t, c, "a", "10.0.0.1", 0)
			want(t, c, "none", "not mine", 0)
			want(t, c, "bad", "no address", 0)
		}
		if runs, _ := s.totals(); runs != 3 {
			t.Errorf("%d look-ups within the TTL, want 3", runs)
		}
		if hasChanged(c) {
			t.Error("told of a change that there was not")
		}
		<-c.Changed() // renewed ahead of time
		want(t, c, "a", "10.0.0.2", 0)
		if n := s.count("a"); n != 2 {
			t.Errorf("%d look-ups", n)
		}
	})
}

func TestCacheWaitsAMomentOnly(t *testing.T) {
	cached(t, 8, 1, func(t *testing.T, c *Cache, s *source) {
		s.takes = 3 * time.Second
		want(t, c, "a", errNotYet.Error(), patience)
		want(t, c, "a", errNotYet.Error(), 0) // nobody waits for the same look-up twice
		if hasChanged(c) {
			t.Error("told of a change that there was not")
		}
		<-c.Changed()
		want(t, c, "a", "10.0.0.1", 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		began := time.Now()
		if got, err := c.Resolve(ctx, nodes("a", "b")); err != nil || !errors.Is(got["b"].Err, errNotYet) || got["a"].Err != nil {
			t.Errorf("%v, %v", got, err)
		}
		if took := time.Since(began); took > time.Millisecond {
			t.Errorf("took %v", took)
		}
		if n := s.count("a"); n != 1 {
			t.Errorf("%d look-ups", n)
		}
	})
}

func TestCacheTellsThatALookUpFailedOnce(t *testing.T) {
	cached(t, 8, 1, func(t *testing.T, c *Cache, s *source) {
		s.takes = time.Second
		s.say("a", finding{err: errDown})
		want(t, c, "a", errNotYet.Error(), patience)
		<-c.Changed()
		want(t, c, "a", "down", 0)
		time.Sleep(5 * time.Minute)
		if hasChanged(c) {
			t.Error("told of the same failure again")
		}
	})
}

func TestCacheKeepsWhatItKnewOnFailure(t *testing.T) {
	cached(t, 8, 1, func(t *testing.T, c *Cache, s *source) {
		want(t, c, "a", "10.0.0.1", s.takes)
		s.say("a", finding{err: errDown})
		s.say("new", finding{err: errDown})
		time.Sleep(59 * time.Second)
		want(t, c, "a", "10.0.0.1", 0)
		want(t, c, "new", "down", s.takes)
		time.Sleep(2 * time.Second)
		want(t, c, "a", "10.0.0.1, down", 0)
		want(t, c, "new", "down", 0)
		time.Sleep(5 * time.Minute)
		want(t, c, "a", "10.0.0.1, down", 0)
		if n := s.count("a"); n < 10 || n > 20 {
			t.Errorf("%d look-ups in five minutes of failure: want pauses of up to %v", n, slowest)
		}
		hasChanged(c)
		s.say("a", foundAt("10.0.0.1"))
		<-c.Changed() // the same address, and no longer in doubt
		want(t, c, "a", "10.0.0.1", 0)
	})
}

func TestCacheBelievesGoneOnlyTheSecondTime(t *testing.T) {
	cached(t, 8, 1, func(t *testing.T, c *Cache, s *source) {
		want(t, c, "a", "10.0.0.1", s.takes)
		s.say("a", finding{err: ErrNotMine})
		for s.count("a") < 2 {
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		want(t, c, "a", "10.0.0.1", 0)
		<-c.Changed()
		want(t, c, "a", "not mine", 0)
		if n := s.count("a"); n != goneAfter+1 {
			t.Errorf("%d look-ups", n)
		}
		s.say("a", foundAt("10.0.0.3"))
		<-c.Changed()
		want(t, c, "a", "10.0.0.3", 0)
	})
}

func TestCacheRefusedEndsTheAddress(t *testing.T) {
	cached(t, 8, 1, func(t *testing.T, c *Cache, s *source) {
		want(t, c, "a", "10.0.0.1", s.takes)
		s.say("a", finding{err: &RefusedError{Why: "unix socket"}})
		<-c.Changed()
		want(t, c, "a", "unix socket", 0)
	})
}

func TestCacheBoundsLookUps(t *testing.T) {
	const many = 10_000
	cached(t, 100, 1, func(t *testing.T, c *Cache, s *source) {
		s.takes = 50 * time.Millisecond
		ns := nodes(ids(many)...)
		began := time.Now()
		for {
			got, err := c.Resolve(t.Context(), ns)
			if err != nil {
				t.Fatal(err)
			}
			missing := 0
			for _, a := range got {
				if a.Err != nil {
					missing++
				}
			}
			if missing == 0 {
				break
			}
			<-c.Changed()
		}
		if took := time.Since(began); took > 5500*time.Millisecond {
			t.Errorf("took %v", took)
		}
		if runs, most := s.totals(); most != 100 || runs != many {
			t.Errorf("%d look-ups, %d at once", runs, most)
		}
	})
}

func TestCacheNewNamesGoBeforeFailingOnes(t *testing.T) {
	cached(t, 4, 1, func(t *testing.T, c *Cache, s *source) {
		dead := ids(200)
		for _, id := range dead {
			s.say(id, finding{err: errDown})
		}
		s.takes = 100 * time.Millisecond
		for range 60 {
			if _, err := c.Resolve(t.Context(), nodes(dead...)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		want(t, c, "new", "10.0.0.1", 2*s.takes)
	})
}

func TestCacheBatchIsOneRunForAll(t *testing.T) {
	const many = 10_000
	cached(t, 2, 1<<20, func(t *testing.T, c *Cache, s *source) {
		s.takes = 300 * time.Millisecond
		ns := nodes(ids(many)...)
		got, err := c.Resolve(t.Context(), ns)
		if runs, _ := s.totals(); err != nil || len(got) != many || got["n9999"].Err != nil || runs != 1 {
			t.Fatalf("%d answers of %d runs, %v", len(got), runs, err)
		}
		time.Sleep(20 * time.Second)
		want(t, c, "late", "10.0.0.1", s.takes)
		began := time.Now()
		s.say("n7", foundAt("10.0.0.7"))
		<-c.Changed()
		if took := time.Since(began); took < 20*time.Second || took > 40*time.Second {
			t.Errorf("renewed after %v more", took)
		}
		if runs, _ := s.totals(); runs != 3 || s.count("late") != 2 {
			t.Errorf("%d runs, late asked %d times: a renewal is one run for all", runs, s.count("late"))
		}
	})
}

func TestCacheOneLookUpForMany(t *testing.T) {
	cached(t, 8, 1, func(t *testing.T, c *Cache, s *source) {
		s.takes = 100 * time.Millisecond
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { want(t, c, "a", "10.0.0.1", s.takes) })
		}
		all.Wait()
		if runs, _ := s.totals(); runs != 1 {
			t.Errorf("%d look-ups", runs)
		}
	})
}

func TestCacheForgetsWhatNobodyAsksAbout(t *testing.T) {
	cached(t, 8, 1, func(t *testing.T, c *Cache, s *source) {
		want(t, c, "a", "10.0.0.1", s.takes)
		want(t, c, "b", "10.0.0.1", s.takes)
		for range 13 {
			time.Sleep(time.Minute)
			want(t, c, "b", "10.0.0.1", 0)
		}
		synctest.Wait()
		if n := len(c.entries); n != 1 {
			t.Errorf("%d entries", n)
		}
		if n := s.count("a"); n > 16 {
			t.Errorf("%d look-ups of a node that nobody asks about", n)
		}
	})
}

func TestCachePanicIsCannotKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(func(context.Context, []question) []finding { panic("oops") }, limits{time.Minute, time.Second, 1, 1})
		defer c.Close()
		want(t, c, "a", "panic: oops", 0)
	})
}

func TestCacheClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unused := newCache(nil, limits{parallel: 1, batch: 1})
		if got, err := unused.Resolve(t.Context(), nil); err != nil || len(got) != 0 {
			t.Errorf("%v, %v", got, err)
		}
		if err := unused.Close(); err != nil {
			t.Error(err)
		}
		heedless := newCache(func(context.Context, []question) []finding {
			time.Sleep(time.Minute)
			return []finding{{}}
		}, limits{time.Minute, time.Second, 1, 1})
		want(t, heedless, "a", errNotYet.Error(), patience)
		if err := heedless.Close(); err == nil || !strings.Contains(err.Error(), "do not end") {
			t.Errorf("%v", err)
		}
		if _, err := heedless.Resolve(t.Context(), nodes("a")); !errors.Is(err, errClosed) {
			t.Errorf("%v", err)
		}
		if err := heedless.Close(); err == nil {
			t.Error("still not ended")
		}
		time.Sleep(2 * time.Minute)
		if err := heedless.Close(); err != nil {
			t.Error(err)
		}
	})
}
