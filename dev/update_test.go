package dev

import (
	"testing"

	"github.com/bazbeans/bazbeans/pool"
)

// bbctl update can be tried on a site: its agents replace the sample applications.
func TestReplaceApplication(t *testing.T) {
	s, err := NewSite(Options{Nodes: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	n := s.Node("web1")
	before := n.backend
	c := pool.NewCommand("update", "ann", 0, nil)
	if err := s.Pool().Send(t.Context(), "web1", c); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Pool().WaitResult(t.Context(), c.ID, nil); err != nil || r.State != pool.Succeeded {
		t.Fatalf("%+v, %v", r, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.backend == before || n.backend.Addr() != before.Addr() {
		t.Errorf("the application at %s was not replaced", before.Addr())
	}
}
