package lbd

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

func TestAgenda(t *testing.T) {
	a := newAgenda()
	if a.due(time.Now()) {
		t.Error("due though empty")
	}
	start := a.began.Add(time.Hour)
	a.at(start.Add(time.Second))
	a.at(start.Add(time.Second + 3*time.Millisecond)) // the same moment
	a.at(start.Add(5 * time.Second))
	if len(a.times) != 2 {
		t.Errorf("%v", a.times)
	}
	next, ok := a.next()
	if late := next.Sub(start.Add(time.Second)); !ok || late < 0 || late > grid {
		t.Errorf("next %v", next)
	}
	if a.due(start) || !a.due(next) || a.due(next) {
		t.Error("due")
	}
	if !a.due(start.Add(10*time.Second)) || len(a.times) != 0 {
		t.Error("all that have come are due together")
	}
}

func TestAgendaUnderAFlood(t *testing.T) {
	a := newAgenda()
	l := &LB{agenda: a, log: silent}
	for range 10_000 {
		l.hear(pool.Wake{Event: &pool.Event{Kind: pool.NodeFrozen}})
	}
	if most := len(lateWriters)*(int(time.Since(a.began)/grid)+2) + 1; len(a.times) > most {
		t.Errorf("%d moments, %d at most", len(a.times), most)
	}
}

func TestHear(t *testing.T) {
	for name, c := range map[string]struct {
		wake pool.Wake
		n    int
	}{
		"ours: one look":                   {pool.Wake{Event: &pool.Event{Kind: pool.NodeFrozen, Rev: 5}}, 1},
		"python's: again after it wrote":   {pool.Wake{Event: &pool.Event{Kind: pool.NodeRegistered}}, 4},
		"rubbish: somebody wrote":          {pool.Wake{}, 4},
		"subscribed: things may be missed": {pool.Wake{Subscribed: true}, 1},
		"deaf: nothing is heard":           {pool.Wake{Deaf: errors.New("NOPERM")}, 0},
	} {
		l := &LB{agenda: newAgenda(), log: silent}
		if l.hear(c.wake); len(l.agenda.times) != c.n {
			t.Errorf("%s: %d moments, want %d", name, len(l.agenda.times), c.n)
		}
		if due := l.agenda.due(time.Now()); due != (c.n > 0) {
			t.Errorf("%s: no look at once", name)
		}
	}
}

func TestBackoff(t *testing.T) {
	b := backoff{first: time.Second, most: 30 * time.Second}
	var last time.Duration
	for range 10 {
		pause := b.failed(noon, "x").Sub(noon)
		if pause < last*8/10 || pause > 36*time.Second || pause < time.Second {
			t.Errorf("pause %s after %s", pause, last)
		}
		last = pause
	}
	if last < 30*time.Second {
		t.Errorf("the longest pause is %s", last)
	}
	if pause := b.failed(noon, "y").Sub(noon); pause >= 2*time.Second {
		t.Errorf("something else begins anew, not with %s", pause)
	}
}

// After a burst of events lbd is as quiet as before: what a turn plans takes the place of what the one before planned.
func TestLooksFallAgainAfterABurst(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, _ *fakeEngine, _ *LB) {
		f.set("web1", "web2")
		for range 300 {
			f.wakes <- pool.Wake{Event: &pool.Event{Kind: pool.NodeFrozen, Rev: 1}}
			time.Sleep(35 * time.Millisecond)
		}
		time.Sleep(5 * time.Minute)
		looks := func() int { f.mu.Lock(); defer f.mu.Unlock(); return f.looks }
		before := looks()
		time.Sleep(time.Minute)
		if n := looks() - before; n > 10 {
			t.Errorf("%d looks a minute at a quiet pool", n)
		}
	})
}

// A clock that is set back must postpone nothing.
func TestAgendaKeepsTheMonotonicClock(t *testing.T) {
	a := newAgenda()
	a.at(time.Now().Add(10 * time.Second))
	if next, _ := a.next(); !strings.Contains(next.String(), "m=") {
		t.Errorf("%s has no monotonic reading", next)
	}
}

// A look that can't take in all entries sees the nodes that are served, and those seen before, first.
func TestAFloodPushesNobodyOut(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		f.set("web1", "-web2")
		time.Sleep(2 * time.Second)
		f.set("web3") // it is not known yet when this look begins
		synctest.Wait()
		if want := []string{"web1", "web1", "web2"}; !slices.Equal(f.first, want) {
			t.Errorf("first %q, want %q", f.first, want)
		}
	})
}
