package ctl

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// balancer acks whatever the pool's revision is, as a load balancer does that is quick; more changes what it says.
func (s *site) balancer(id string, more func(*pool.Ack)) {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.t.Context())
	say := func() {
		if snap, err := s.p.Snapshot(ctx); err == nil {
			a := pool.Ack{ID: id, Rev: snap.Rev}
			if more != nil {
				more(&a)
			}
			_, _ = s.p.WriteAck(ctx, a, time.Minute) // its end is the test's
		}
	}
	say()
	var wg sync.WaitGroup
	wg.Go(func() {
		for tick := time.NewTicker(5 * time.Millisecond); ctx.Err() == nil; <-tick.C {
			say()
		}
	})
	s.t.Cleanup(func() {
		stop()
		wg.Wait()
	})
}

// fleet is nodes with agents, behind one load balancer. failing fails at its update until mended.
func (s *site) fleetOf(n int, failing *atomic.Pointer[string]) (log *journal) {
	s.t.Helper()
	log = &journal{}
	for i := range n {
		id := fmt.Sprintf("web%d", i+1)
		s.node(id, true)
		s.agent(id, func(c pool.Command) *pool.Result {
			node, err := s.p.Node(context.WithoutCancel(s.t.Context()), id) // as agent does
			if err != nil {
				s.t.Error(err)
			}
			log.add(id, c.Type, node.Freeze)
			if bad := failing.Load(); bad != nil && *bad == id {
				return fail("update", "no image")(c)
			}
			return succeed(c)
		})
	}
	return log
}

// journal is what agents did, and whether their nodes were frozen then.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(id, kind string, f *pool.Freeze) {
	j.mu.Lock()
	defer j.mu.Unlock()
	state := "in service"
	if f != nil {
		state = "frozen"
	}
	j.lines = append(j.lines, id+" "+kind+" "+state)
}

// take returns what was written since the last take.
func (j *journal) take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	text := strings.Join(j.lines, "\n")
	j.lines = nil
	return text
}

var quick = []string{"update", "--yes", "--pause", "0s", "--drain-timeout", "1m"}

func (s *site) update(args ...string) ran {
	s.t.Helper()
	return s.run(append(append([]string{}, quick...), args...)...)
}

// One of six fails: it stays frozen with the reason, the rest is not tried; --resume begins with it and updates nobody
// twice.
func TestUpdate(t *testing.T) {
	s := newSite(t)
	var failing atomic.Pointer[string]
	log := s.fleetOf(6, &failing)
	s.balancer("lb1", nil)
	bad := "web3"
	failing.Store(&bad)
	r := s.update()
	if r.code != 1 || figure(r.stdout) != "web1: updated (T)\nweb2: updated (T)\n" {
		t.Fatalf("%+v", r)
	}
	for _, says := range []string{": 6 nodes, 1 at a time; at least 3 stay in service\n", "bbctl: web1: draining\n", "bbctl: web3: failed while updating: update failed: no image; it stays frozen, its update may be done in part",
		"stopped: 1 node failed; 2 of 6 updated in ", "failed: web3, not tried: web4 web5 web6\n", "go on with: bbctl update --resume="} {
		if !strings.Contains(r.stderr, says) {
			t.Errorf("%q is not in\n%s", says, r.stderr)
		}
	}
	if got := log.take(); got != "web1 update frozen\nweb1 health_check frozen\nweb2 update frozen\nweb2 health_check frozen\nweb3 update frozen" {
		t.Error(got)
	}
	n, err := s.p.Node(t.Context(), "web3")
	if err != nil || n.Freeze == nil || !strings.Contains(n.Freeze.Reason, ": failed while updating: update failed: no image") || n.Freeze.By != "alice@desk" {
		t.Fatalf("%+v, %v", n.Freeze, err)
	}
	if out := s.must("history", "web3"); !strings.Contains(out, "freeze_replaced") || !strings.Contains(out, n.Freeze.Reason) {
		t.Errorf("history does not say why it failed:\n%s", out)
	}
	// Another run leaves that one's node alone.
	if r := s.update("--dry-run"); r.code != 0 || !strings.Contains(r.stderr, "web3: left out: update "+runOf(n.Freeze.Reason)+" left it frozen") || strings.Contains(r.stdout, "web3") {
		t.Errorf("%+v", r)
	}
	if r := s.update("--dc", "dc1", "--resume="+runOf(n.Freeze.Reason)); r.code != 2 || !strings.Contains(r.stderr, "was begun for other nodes") {
		t.Errorf("%+v", r)
	}

	failing.Store(nil)
	log.take()
	r = s.update("--resume")
	if r.code != 0 || figure(r.stdout) != "web3: updated (T)\nweb4: updated (T)\nweb5: updated (T)\nweb6: updated (T)\n" || !strings.Contains(r.stderr, " 6 of 6 updated in ") {
		t.Errorf("%+v", r)
	}
	if got := log.take(); strings.Contains(got, "web1") || strings.Contains(got, "web2") || !strings.HasPrefix(got, "web3 update frozen\n") {
		t.Error(got)
	}
	if r := s.update("--resume"); r.code != 0 || !strings.Contains(r.stderr, "is done: 6 nodes\n") || log.take() != "" {
		t.Errorf("%+v", r)
	}
	if out := s.must("list-nodes", "--state", "active", "-o", "json"); strings.Count(out, `"id"`) != 6 {
		t.Error(out)
	}
}

// Who went on with a run knows what was done in it, also when the clock of who began it is ahead.
func TestResumeGoesByTheOrderInRedis(t *testing.T) {
	var failing atomic.Pointer[string]
	bad := "web1"
	failing.Store(&bad)
	s := newSite(t)
	log := s.fleetOf(1, &failing)
	s.balancer("lb1", nil)
	if r := s.update("--min-active", "0"); r.code != 1 {
		t.Fatalf("%+v", r)
	}
	last, err := s.p.LastCommands(t.Context(), "web1", 1)
	if err != nil || len(last) != 1 {
		t.Fatalf("%+v, %v", last, err)
	}
	ahead := time.Now().Add(2 * time.Hour).UTC().Format("2006-01-02T15:04:05.000Z")
	s.do(s.rdb.HSet(t.Context(), "bazbeans:command:"+last[0].ID, "queued", ahead))
	failing.Store(nil)
	if r := s.update("--min-active", "0", "--resume"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	log.take()
	if r := s.update("--min-active", "0", "--resume"); r.code != 0 || !strings.Contains(r.stderr, "is done: 1 node\n") || log.take() != "" {
		t.Errorf("%+v", r)
	}
}

// Who is left out, who stays frozen, and batches.
func TestUpdateOfFrozenAndDeadNodes(t *testing.T) {
	s := newSite(t)
	var failing atomic.Pointer[string]
	log := s.fleetOf(4, &failing)
	s.balancer("lb1", nil)
	s.must("freeze", "web2", "--reason", "new disk")
	s.do(s.rdb.Del(t.Context(), "bazbeans:node:web4:heartbeat"))
	r := s.update("--batch", "50%")
	for _, says := range []string{"web2: left out: it is frozen: new disk (name it", "web4: left out: it is dead", " 2 of 2 updated"} {
		if !strings.Contains(r.stderr, says) {
			t.Errorf("%q is not in\n%s", says, r.stderr)
		}
	}
	if r.code != 0 {
		t.Errorf("%+v", r)
	}
	log.take()
	if r := s.update("web2"); r.code != 0 || figure(r.stdout) != "web2: updated (T), and stays frozen: new disk\n" {
		t.Errorf("%+v", r)
	}
	n, err := s.p.Node(t.Context(), "web2")
	if err != nil || n.Freeze == nil || n.Freeze.Reason != "new disk" || log.take() != "web2 update frozen\nweb2 health_check frozen" {
		t.Errorf("%+v, %v", n, err)
	}
	if r := s.update("web4"); r.code != 1 || !strings.Contains(r.stderr, "web4 has no heartbeat") {
		t.Errorf("%+v", r)
	}
	if r := s.update("web7"); r.code != 3 {
		t.Errorf("%+v", r)
	}
}

func TestUpdateGuards(t *testing.T) {
	s := newSite(t)
	var failing atomic.Pointer[string]
	log := s.fleetOf(2, &failing)
	none := func(code int, says string, args ...string) {
		t.Helper()
		if r := s.update(args...); r.code != code || !strings.Contains(r.stderr, says) || log.take() != "" {
			t.Errorf("%v: %+v", args, r)
		}
	}
	none(5, "no load balancer is known to this redis: nobody can say when a node is drained (--force goes on without)")
	if r := s.update("--force"); r.code != 0 || !strings.Contains(r.stderr, "goes on by --force, not drained: no load balancer is known") {
		t.Errorf("%+v", r)
	}
	log.take()
	s.ack(pool.Ack{ID: "lb2", Rev: late})
	s.do(s.rdb.Del(t.Context(), "bazbeans:lb:lb2"))
	none(5, "load balancer lb2 is silent")
	s.must("lbs", "forget", "lb2")
	s.balancer("lb1", func(a *pool.Ack) { a.Draining = 2 })
	none(5, "too few nodes would stay in service: 0 of the pool's 2 active nodes, and --min-active is 1", "--batch", "2")
	s.node("web2", true, "weight", "0") // gets no traffic: without web1 nobody serves
	none(5, "too few nodes would stay in service: 0 of the pool's 1 active nodes, and --min-active is 1", "web1")
	s.node("web2", true, "weight", "1")
	none(2, "--batch", "--batch", "0")
	none(2, "--min-active", "--min-active", "x")

	// Old workers that stay: the run stops, the node stays frozen.
	r := s.update("--drain-timeout", "2s")
	if r.code != 4 || !strings.Contains(r.stderr, "web1: failed while draining: not drained within 2s: lb1: 2 old workers still draining (--drain-timeout, --force); it stays frozen, its update was not begun") {
		t.Errorf("%+v", r)
	}
	if log.take() != "" {
		t.Error("a node that was not drained was updated")
	}
	// The time is also that in which it is to be served again: more than this machine may stand still.
	r = s.update("--drain-timeout", "4s", "--resume", "--force")
	if r.code != 0 || !strings.Contains(r.stderr, " 2 of 2 updated in ") {
		t.Errorf("%+v", r)
	}
}
