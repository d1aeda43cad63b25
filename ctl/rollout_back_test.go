package ctl

import (
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/pool"
)

// A node that somebody unfreezes while it drains is in traffic: it is not updated, --force or not, nor frozen again.
func TestUpdateOfANodeThatIsUnfrozenWhileItDrains(t *testing.T) {
	for _, force := range []string{"--force=false", "--force"} {
		s := newSite(t)
		s.node("web1", true)
		s.agent("web1", func(c pool.Command) *pool.Result {
			t.Errorf("%s: %s in traffic", force, c.Type)
			return succeed(c)
		})
		s.ack(pool.Ack{ID: "lb1", Rev: 5})
		r := s.start(append(quick, "--min-active", "0", "--drain-timeout", "2m", force)...)
		r.stderr.shows(t, "web1: draining: lb1: still serves rev 5\n") // said once, when it has lasted
		s.must("unfreeze", "web1")
		s.ack(pool.Ack{ID: "lb1", Rev: late})
		r.wantEnd(t, 1)
		if got := r.stderr.String(); !strings.Contains(got, "web1: failed while draining: web1 was unfrozen meanwhile (by alice@desk); it is in service, its update was not begun\n") {
			t.Error(got)
		}
		if n := strings.Count(r.stderr.String(), "draining: lb1"); n != 1 {
			t.Errorf("said %d times whom it waits for", n)
		}
		if n, err := s.p.Node(t.Context(), "web1"); err != nil || n.Freeze != nil {
			t.Errorf("%+v, %v", n, err)
		}
	}
}

// Nodes that are to stay frozen are looked at again when their turn has come. One that was unfrozen since the run was
// planned is updated as any other, and one that another run has frozen is left to that run.
func TestUpdateOfFrozenNodesLooksAgain(t *testing.T) {
	s := newSite(t)
	s.balancer("lb1", nil)
	log := &journal{}
	for _, id := range []string{"web1", "web2", "web3"} {
		s.node(id, true)
		s.agent(id, func(c pool.Command) *pool.Result {
			if n, err := s.p.Node(t.Context(), id); err != nil {
				t.Error(err)
			} else {
				log.add(id, c.Type, n.Freeze)
			}
			if id == "web1" && c.Type == "update" {
				s.must("unfreeze", "web2", "web3")
				s.must("freeze", "web3", "--reason", "update AAAABBBB: in progress")
			}
			return succeed(c)
		})
	}
	s.must("freeze", "web2", "web3", "--reason", "new disk")
	r := s.update("web1", "web2", "web3", "--min-active", "0")
	want := "web1: updated (T)\nweb2: updated (T)\nweb3: left out, frozen by alice@desk meanwhile (update AAAABBBB: in progress): stays frozen\n"
	if r.code != 0 || figure(r.stdout) != want {
		t.Errorf("%+v", r)
	}
	if got := log.take(); got != "web1 update frozen\nweb1 health_check frozen\nweb2 update frozen\nweb2 health_check frozen" {
		t.Error(got)
	}
	if n, err := s.p.Node(t.Context(), "web2"); err != nil || !n.Wanted() {
		t.Errorf("web2 is not back: %+v, %v", n, err)
	}
}
