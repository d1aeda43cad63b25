package pool_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// frozenPair registers and freezes two nodes, and returns a wait for both to drain.
func (w world) frozenPair(t *testing.T) (rev int64, drained func(context.Context, func([]pool.Blocker)) error) {
	t.Helper()
	for _, id := range []string{"web1", "web2"} {
		w.register(t, id)
		c, err := w.Freeze(t.Context(), id, "ann", "")
		if err != nil {
			t.Fatal(err)
		}
		rev = c.Rev
	}
	return rev, func(ctx context.Context, report func([]pool.Blocker)) error {
		return w.WaitDrained(ctx, rev, []string{"web1", "web2"}, report)
	}
}

// oneBehind is such a wait, of which lb1 is done, without old workers, and lb2 is not.
func (w world) oneBehind(ctx context.Context, t *testing.T) (rev int64, wait waiter) {
	t.Helper()
	rev, drained := w.frozenPair(t)
	w.ack(t, pool.Ack{ID: "lb1", Rev: rev})
	w.ack(t, pool.Ack{ID: "lb2", Rev: rev - 1})
	wait = startWait(ctx, drained)
	wait.want(t, pool.Blocker{LB: "lb2", Why: servesRev(rev - 1)})
	return rev, wait
}

// A node that gets traffic again is not drained, whatever revision the load balancers have acked.
func TestWaitDrainedOfANodeThatIsBack(t *testing.T) {
	for name, c := range map[string]struct {
		back func(t *testing.T, w world)
		by   map[string]string
		says string
	}{
		"unfrozen by somebody": {func(t *testing.T, w world) {
			if _, err := w.Unfreeze(t.Context(), "web1", "bob"); err != nil {
				t.Fatal(err)
			}
		}, map[string]string{"web1": "bob"}, "web1 was unfrozen meanwhile (by bob)"},
		"its freeze lost in a failover": {func(t *testing.T, w world) {
			if _, err := w.Unfreeze(t.Context(), "web1", "bob"); err != nil {
				t.Fatal(err)
			}
			if err := w.rdb.Del(t.Context(), "bazbeans:events").Err(); err != nil {
				t.Fatal(err)
			}
		}, map[string]string{"web1": ""}, "web1 gets traffic again: its freeze is gone"},
	} {
		onEach(t, name, func(t *testing.T, w world) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			rev, drained := w.frozenPair(t)
			w.ack(t, pool.Ack{ID: "lb1", Rev: rev - 1})
			wait := startWait(ctx, drained)
			wait.want(t, pool.Blocker{LB: "lb1", Why: servesRev(rev - 1)})
			c.back(t, w)
			w.ack(t, pool.Ack{ID: "lb1", Rev: w.node(t, "web1").Rev})
			err := wait.end(t)
			var back *pool.UnfrozenError
			if !errors.As(err, &back) || !maps.Equal(back.By, c.by) || !back.Drained || err.Error() != c.says {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

// While a node that is back gets requests, load balancers never are done with it.
func TestWaitDrainedOfANodeThatIsBackAndBusy(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		rev, drained := w.frozenPair(t)
		w.ack(t, pool.Ack{ID: "lb1", Rev: rev, Live: "lua", Apply: "live", Busy: map[string]int{"web1": 1}})
		wait := startWait(ctx, drained)
		wait.want(t, pool.Blocker{LB: "lb1", Why: "1 request under way on web1"})
		c, err := w.Unfreeze(ctx, "web1", "bob")
		if err != nil {
			t.Fatal(err)
		}
		w.ack(t, pool.Ack{ID: "lb1", Rev: c.Rev, Live: "lua", Apply: "live", Busy: map[string]int{"web1": 5}})
		var back *pool.UnfrozenError
		if err := wait.end(t); !errors.As(err, &back) || back.By["web1"] != "bob" || back.Drained {
			t.Errorf("got %v", err)
		}
	})
}

// A Redis that lost its data has lost load balancers that had not acked, too: that the others are done proves nothing, and
// that there is none is no reason to go on without.
func TestWaitDrainedOutlivesLostData(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		rev, wait := w.oneBehind(ctx, t)
		if err := w.rdb.FlushAll(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		lost := pool.Blocker{Why: "it does not know web1, web2 any more: redis has lost its data, or the event that says who forgot it can't be read"}
		wait.want(t, lost)
		w.ack(t, pool.Ack{ID: "lb1", Rev: rev})
		wait.want(t, lost)
		// Their agents are back, and so are the load balancers.
		now, _ := w.frozenPair(t)
		w.ack(t, pool.Ack{ID: "lb2", Rev: rev})
		wait.want(t, pool.Blocker{LB: "lb1", Why: servesRev(rev)}, pool.Blocker{LB: "lb2", Why: servesRev(rev)})
		for _, id := range []string{"lb1", "lb2"} {
			w.ack(t, pool.Ack{ID: id, Rev: now})
		}
		if err := wait.end(t); err != nil {
			t.Error(err)
		}
	})
}

// A node that somebody forgot in the meantime is out as one that stays frozen is: for good when load balancers have left it
// out. One of whom no event tells that may be lost, and load balancers with it.
func TestWaitDrainedOfANodeThatIsForgotten(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		rev, wait := w.oneBehind(ctx, t)
		c, err := w.Forget(ctx, "web1", "bob")
		if err != nil {
			t.Fatal(err)
		}
		w.ack(t, pool.Ack{ID: "lb2", Rev: rev})
		wait.want(t, pool.Blocker{LB: "lb1", Why: servesRev(rev)}, pool.Blocker{LB: "lb2", Why: servesRev(rev)})
		w.ack(t, pool.Ack{ID: "lb1", Rev: c.Rev, Draining: 1})
		w.ack(t, pool.Ack{ID: "lb2", Rev: c.Rev})
		wait.want(t, pool.Blocker{LB: "lb1", Why: "1 old worker still draining"})
		if err := w.rdb.Del(ctx, "bazbeans:events").Err(); err != nil {
			t.Fatal(err)
		}
		w.ack(t, pool.Ack{ID: "lb1", Rev: c.Rev})
		wait.want(t, pool.Blocker{Why: "it does not know web1 any more: redis has lost its data, or the event that says who forgot it can't be read"})
		w.ack(t, pool.Ack{ID: "lb2", Rev: rev}) // else the wait might end with web1 in traffic
		wait.want(t, pool.Blocker{LB: "lb2", Why: servesRev(rev)})
		w.register(t, "web1")
		if c, err = w.Freeze(ctx, "web1", "ann", ""); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"lb1", "lb2"} {
			w.ack(t, pool.Ack{ID: id, Rev: c.Rev})
		}
		if err := wait.end(t); err != nil {
			t.Error(err)
		}
	})
}

// One that was back for a moment is drained when that moment is over for all load balancers, their old workers included.
func TestWaitDrainedOfANodeThatWasBack(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		rev, wait := w.oneBehind(ctx, t)
		between, err := w.Unfreeze(ctx, "web1", "bob")
		if err != nil {
			t.Fatal(err)
		}
		again, err := w.Freeze(ctx, "web1", "ann", "")
		if err != nil {
			t.Fatal(err)
		}
		w.ack(t, pool.Ack{ID: "lb2", Rev: between.Rev})
		wait.want(t, pool.Blocker{LB: "lb1", Why: servesRev(rev)}, pool.Blocker{LB: "lb2", Why: servesRev(between.Rev)})
		w.ack(t, pool.Ack{ID: "lb1", Rev: again.Rev, Draining: 1})
		w.ack(t, pool.Ack{ID: "lb2", Rev: again.Rev})
		wait.want(t, pool.Blocker{LB: "lb1", Why: "1 old worker still draining"})
		w.ack(t, pool.Ack{ID: "lb1", Rev: again.Rev})
		if err := wait.end(t); err != nil {
			t.Error(err)
		}
	})
}

func servesRev(rev int64) string { return fmt.Sprintf("still serves rev %d", rev) }
