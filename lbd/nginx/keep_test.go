package nginx

import (
	"errors"
	"slices"
	"testing"

	"github.com/bazbeans/bazbeans/step"
)

// A live engine's files go to the disk without a reload, for the next start or reload that somebody else asks for.
func TestKeep(t *testing.T) {
	s := running(t)
	file := func(g string) []File { return []File{{Path: s.out, Data: gen(g)}} }
	if err := s.n.Keep(t.Context(), file("g2"), 2); !errors.Is(err, ErrUnproven) {
		t.Fatalf("Keep before anything was proven: %v", err)
	}
	s.holds("conf.d/out.conf", gen("g0"))

	s.apply(file("g1")...)
	workers := s.workers()
	if err := s.n.Keep(t.Context(), file("g2"), 2); err != nil {
		t.Fatal(err)
	}
	s.holds("conf.d/out.conf", gen("g2"))
	s.serves("g1")
	if out := s.apply(file("g2")...); out.Reloaded || out.Changed || !out.Running {
		t.Errorf("Apply of what was kept: %+v, want nothing to do", out)
	}
	if now := s.workers(); !slices.Equal(now, workers) {
		t.Errorf("workers %v became %v", workers, now)
	}
	if served, err := s.open(Options{}).Served(t.Context(), file("g3")); err != nil || len(served) != 1 || string(served[0].Data) != string(gen("g2")) {
		t.Errorf("a new lbd finds %+v, %v; want g2, proven", served, err)
	}

	// Nothing that Nginx refuses gets to the disk.
	err := s.n.Keep(t.Context(), []File{{Path: s.out, Data: []byte("borken;")}}, 3)
	checkError(t, err, step.Test, "borken")
	s.holds("conf.d/out.conf", gen("g2"))
	s.clean()

	// An edit by hand is no longer what was proven.
	s.write("conf.d/out.conf", string(gen("hand")))
	if err := s.n.Keep(t.Context(), file("g3"), 3); !errors.Is(err, ErrUnproven) {
		t.Errorf("Keep over an edit by hand: %v", err)
	}
	if _, err := s.n.Served(t.Context(), file("g3")); !errors.Is(err, ErrUnproven) {
		t.Errorf("Served after an edit by hand: %v", err)
	}
	if out := s.apply(file("g3")...); !out.Reloaded {
		t.Errorf("Apply over an edit by hand: %+v", out)
	}
	s.serves("g3")
}
