package pool_test

import (
	"errors"
	"testing"

	"github.com/bazbeans/bazbeans/pool"
)

// A run freezes what is free and what it froze itself, and lifts that; another operator's freeze stays as it is.
func TestRunLeavesOthersFreezesAlone(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		w.register(t, "web1")
		const run = "update RUN1: "
		if c, err := w.FreezeRun(ctx, "web1", "ann", run+"in progress", run); err != nil || !c.Changed {
			t.Fatalf("of a free node: %+v, %v", c, err)
		}
		if _, err := w.FreezeRun(ctx, "web1", "ann", run+"failed", run); err != nil || w.node(t, "web1").Why() != run+"failed" {
			t.Errorf("of its own: %q, %v", w.node(t, "web1").Why(), err)
		}
		if c, err := w.UnfreezeRun(ctx, "web1", "ann", run); err != nil || !c.Changed {
			t.Errorf("unfreeze of its own: %+v, %v", c, err)
		}
		wantState(t, w.node(t, "web1"), pool.Active)
		if c, err := w.UnfreezeRun(ctx, "web1", "ann", run); err != nil || c.Changed {
			t.Errorf("unfreeze of a free node: %+v, %v", c, err)
		}
		for _, reason := range []string{"disk is dying", "", "update RUN2: in progress"} {
			if _, err := w.Freeze(ctx, "web1", "bob", reason); err != nil {
				t.Fatal(err)
			}
			before := *w.node(t, "web1")
			_, err := w.FreezeRun(ctx, "web1", "ann", run+"in progress", run)
			var others *pool.OthersFreezeError
			if !errors.As(err, &others) || others.Freeze != *before.Freeze {
				t.Errorf("freeze over %q: %v", reason, err)
			}
			if _, err = w.UnfreezeRun(ctx, "web1", "ann", run); !errors.As(err, &others) || others.Freeze.By != "bob" {
				t.Errorf("unfreeze of %q: %v", reason, err)
			}
			if n := w.node(t, "web1"); n.Freeze == nil || *n.Freeze != *before.Freeze || n.Rev != before.Rev {
				t.Errorf("%q has changed: %+v", reason, n)
			}
			if _, err := w.Unfreeze(ctx, "web1", "bob"); err != nil {
				t.Fatal(err)
			}
		}
		// What Python's own tools froze is no run's either.
		w.python(t, "py1", "10.0.0.9")
		if err := w.rdb.HSet(ctx, "bazbeans:node:py1:status", "is_frozen", "true", "details", "by hand").Err(); err != nil {
			t.Fatal(err)
		}
		if c, err := w.UnfreezeRun(ctx, "py1", "ann", run); err != nil || c.Changed || c.Own != "by hand" {
			t.Errorf("unfreeze of a Python node: %+v, %v", c, err)
		}
	})
}
