package pool_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/bazbeans/bazbeans/pool"
)

func TestPythonNode(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		w.python(t, "py1", "10.0.0.9")
		// Left-overs of an agent of ours that ran there once are not believed.
		w.rdb.HSet(ctx, "bazbeans:node:py1:status", "address", "10.9.9.9", "port", "1", "weight", "7", "labels", "{", "agent", "1.0")
		n := w.node(t, "py1")
		wantState(t, n, pool.Active)
		if n.Address.IsValid() || n.Port != 0 || n.Weight != 1 || n.Agent != "" || n.Metrics.CPU != 12.5 || n.DataCenter != "dc2" {
			t.Errorf("node %+v", n)
		}
		ips, err := w.NodeIPs(ctx, []string{"py1", "none"})
		if err != nil || fmt.Sprint(ips) != "map[py1:10.0.0.9]" {
			t.Errorf("node_ips %v, %v", ips, err)
		}
		// Its agent registers again while an operator's freeze holds.
		if _, err := w.Freeze(ctx, "py1", "ann", "x"); err != nil {
			t.Fatal(err)
		}
		w.python(t, "py1", "10.0.0.9")
		wantState(t, w.node(t, "py1"), pool.Frozen)
		// Unfreeze: also what Python froze itself, and its agent is told; older freezes in its queue go.
		w.rdb.HSet(ctx, "bazbeans:node:py1:status", "is_frozen", "true")
		w.rdb.RPush(ctx, "bazbeans:node:py1:commands", `{"type": "freeze", "reason": "old"}`, `{"type": "exec", "command": "ls"}`)
		if u, err := w.Unfreeze(ctx, "py1", "ann"); err != nil || !u.Changed || u.Own != "" {
			t.Errorf("unfreeze %+v, %v", u, err)
		}
		wantState(t, w.node(t, "py1"), pool.Active)
		queue := w.rdb.LRange(ctx, "bazbeans:node:py1:commands", 0, -1).Val()
		if len(queue) != 2 || !strings.Contains(queue[0], "exec") || queue[1] != `{"by":"ann","type":"unfreeze"}` {
			t.Errorf("queue %q", queue)
		}
	})
}

func TestHostileEntriesAreFaultsOfTheirNodes(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		for _, id := range []string{"good", "addr", "port", "weight", "labels", "type"} {
			w.register(t, id)
		}
		set := func(id, field, value string) { w.rdb.HSet(ctx, "bazbeans:node:"+id+":status", field, value) }
		set("addr", "address", "unix:/var/run/docker.sock")
		set("port", "port", "80 backup")
		set("weight", "weight", "1 max_fails=0")
		set("labels", "labels", `{"a": 1}`)
		w.rdb.Del(ctx, "bazbeans:node:type:heartbeat")
		w.rdb.SAdd(ctx, "bazbeans:node:type:heartbeat", "x")
		w.rdb.SAdd(ctx, "bazbeans:nodes:active", "x;}\nserver evil;", "../../etc", strings.Repeat("a", 5000), "")
		s, err := w.Snapshot(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Nodes) != 6 || len(s.Refused) != 4 {
			t.Errorf("%d nodes, refused %+v", len(s.Nodes), s.Refused)
		}
		for _, n := range s.Nodes {
			if (n.ID == "good") != (n.Fault == "") {
				t.Errorf("%s: fault %q", n.ID, n.Fault)
			}
			if n.Wanted() != (n.ID == "good") {
				t.Errorf("%s: wanted %t", n.ID, n.Wanted())
			}
		}
		for _, r := range s.Refused {
			if len(r.Why) > 300 || strings.ContainsAny(r.Why, "\n") {
				t.Errorf("why %q", r.Why)
			}
		}
	})
}

// countPipelines counts round trips.
type countTrips struct{ n int }

func (c *countTrips) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}
func (c *countTrips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { c.n++; return next(ctx, cmd) }
}
func (c *countTrips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { c.n++; return next(ctx, cmds) }
}

func TestRoundTripsDoNotGrowWithTheFleet(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		w.register(t, "web0")
		trips := &countTrips{}
		rdb := redis.NewClient(&redis.Options{Addr: w.rdb.Options().Addr})
		rdb.AddHook(trips)
		p := pool.New(rdb, "", "")
		defer p.Close()
		for _, size := range []int{1, 300} {
			for i := range size {
				w.python(t, fmt.Sprintf("n%d", i), "10.0.0.1")
			}
			if _, err := p.SnapshotFor(ctx, "lb1", nil); err != nil { // connects
				t.Fatal(err)
			}
			trips.n = 0
			s, err := p.SnapshotFor(ctx, "lb1", nil)
			if err != nil || len(s.Nodes) != size+1 || trips.n != 2 {
				t.Errorf("%d nodes: %d round trips, %v", size+1, trips.n, err)
			}
		}
		member, _, err := p.Register(ctx, registration("web9"), "")
		if err != nil {
			t.Fatal(err)
		}
		trips.n = 0
		if _, err := member.Heartbeat(ctx, pool.Metrics{}); err != nil || trips.n != 1 {
			t.Errorf("heartbeat: %d round trips, %v", trips.n, err)
		}
	})
}

// A load balancer's look says when Redis has no ack of it, by which a Redis that lost its data is known. It never fails
// because of the ack.
func TestALookSaysThatOnesAckIsGone(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		want := func(what string, unacked string) {
			t.Helper()
			gone := ""
			for _, lb := range []string{"lb1", "lb2", ""} {
				s, err := w.SnapshotFor(ctx, lb, nil)
				if err != nil {
					t.Fatalf("%s: the look of %q: %v", what, lb, err)
				}
				if s.Unacked {
					gone += lb + " "
				}
			}
			if gone != unacked {
				t.Errorf("%s: missing are the acks of %q, want %q", what, gone, unacked)
			}
		}
		ack := func() {
			t.Helper()
			_, err := w.WriteAck(ctx, pool.Ack{ID: "lb1", Instance: "i1"}, time.Minute)
			do(t, "ack", err)
		}
		want("nothing", "lb1 lb2 ")
		ack()
		want("no node", "lb2 ")
		w.register(t, "web1")
		want("a node", "lb2 ")
		do(t, "forget", w.ForgetLB(ctx, "lb1", "ann"))
		want("forgotten", "lb1 lb2 ")
		ack()
		want("back", "lb2 ")
		w.rdb.FlushAll(ctx)
		w.register(t, "web1")
		want("flushed", "lb1 lb2 ")
		w.rdb.Set(ctx, "bazbeans:lb:lb1", "x", 0)
		want("a wrong type", "lb2 ")
	})
}
