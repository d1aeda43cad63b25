package pool_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

// huge is more than the pool reads of one answer.
var huge = strings.Repeat("x", 80<<20)

// fill writes a huge value into a hash's field, or into a key of its own.
func (w world) fill(t testing.TB, key, field string) {
	t.Helper()
	var err error
	if field == "" {
		err = w.rdb.Set(t.Context(), key, huge, time.Minute).Err()
	} else {
		err = w.rdb.HSet(t.Context(), key, field, huge).Err()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// patiently calls again when no answer came in time: much data takes long on a busy machine.
func patiently[T any](call func() (T, error)) (v T, err error) {
	for range 10 {
		if v, err = call(); err == nil || !contains(err.Error(), "no answer in time") {
			break
		}
	}
	return v, err
}

// What a hostile writer makes very large is the fault of that entry; the other nodes go on, and their freezes hold.
func TestSomethingVeryLarge(t *testing.T) {
	srv := serverstest.Redis(t)
	for _, c := range []struct {
		name       string
		key, field string
		fault      string // of web1; "": none
	}{
		{"heartbeat", "bazbeans:node:web1:heartbeat", "", ""}, // the key lives, which is what counts
		{"labels", "bazbeans:node:web1:status", "labels", "labels holds 83886080 bytes"},
		{"is_frozen", "bazbeans:node:web1:status", "is_frozen", "is_frozen holds 83886080 bytes"},
		{"details", "bazbeans:node:web1:status", "details", ""},
		{"freeze", "bazbeans:nodes:frozen", "web1", ""},
		{"freeze of nobody", "bazbeans:nodes:frozen", "nobody", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := open(t, srv.Addr())
			ctx := t.Context()
			w.rdb.FlushAll(ctx)
			for _, id := range []string{"web1", "web2", "web3"} {
				w.register(t, id)
			}
			if _, err := w.Freeze(ctx, "web3", "ann", "swap"); err != nil {
				t.Fatal(err)
			}
			w.fill(t, c.key, c.field)
			for name, look := range map[string]func(context.Context) (*pool.Snapshot, error){"quick": w.Snapshot, "full": w.FullSnapshot} {
				s, err := patiently(func() (*pool.Snapshot, error) { return look(ctx) })
				if err != nil || len(s.Nodes) != 3 {
					t.Fatalf("%s: %+v, %v", name, s, err)
				}
				if n := s.Nodes[0]; !strings.HasPrefix(n.Fault, c.fault) || (c.fault == "") != (n.Fault == "") {
					t.Errorf("%s: fault %q, want %q", name, n.Fault, c.fault)
				}
				if c.name == "freeze" {
					wantState(t, &s.Nodes[0], pool.Frozen)
				} else if s.Nodes[0].Freeze != nil {
					t.Errorf("%s: web1 is frozen: %+v", name, s.Nodes[0].Freeze)
				}
				wantState(t, &s.Nodes[1], pool.Active)
				wantState(t, &s.Nodes[2], pool.Frozen)
				if r := s.Nodes[2].Freeze.Reason; r != "swap" {
					t.Errorf("%s: reason %q", name, r)
				}
				if len(s.Nodes[0].Details) > 300 {
					t.Errorf("%s: %d bytes of details", name, len(s.Nodes[0].Details))
				}
			}
			cold := open(t, srv.Addr())
			if n, err := patiently(func() (*pool.Node, error) { return cold.Node(ctx, "web1") }); err != nil || !strings.HasPrefix(n.Fault, c.fault) {
				t.Errorf("node: %+v, %v", n, err)
			}
		})
	}
}

func TestVeryLargeAddressOfAPythonNode(t *testing.T) {
	w := open(t, serverstest.Redis(t).Addr())
	w.rdb.HSet(t.Context(), "bazbeans:node_ips", "py1", "10.0.0.1")
	w.fill(t, "bazbeans:node_ips", "py2")
	for range 2 { // the second look is careful from the start
		ips, err := patiently(func() (map[string]string, error) { return w.NodeIPs(t.Context(), []string{"py1", "py2", "py3"}) })
		if err != nil || len(ips) != 2 || ips["py1"] != "10.0.0.1" || ips["py2"] != "" {
			t.Errorf("%d entries, py1 %q, %v", len(ips), ips["py1"], err)
		}
	}
}

// An answer that is no part of a look is an error, and the connection is none the worse for it.
func TestVeryLargeAnswerIsAnError(t *testing.T) {
	w := open(t, serverstest.Redis(t).Addr())
	w.register(t, "web1")
	if lbs, err := w.LBs(t.Context()); err != nil || len(lbs) != 0 {
		t.Errorf("%v, %v", lbs, err)
	}
	if err := w.rdb.SAdd(t.Context(), "bazbeans:lbs", huge).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := patiently(func() ([]pool.LB, error) { return w.LBs(t.Context()) }); !errors.Is(err, pool.ErrTooLarge) {
		t.Errorf("%v, want ErrTooLarge", err)
	}
	wantState(t, w.node(t, "web1"), pool.Active)
	w.fill(t, "bazbeans:lb:lb1", "instance")
	s, err := patiently(func() (*pool.Snapshot, error) { return w.SnapshotFor(t.Context(), "lb1", nil) })
	if err != nil || s.Unacked || !s.Nodes[0].Wanted() {
		t.Errorf("a very large ack: %+v, %v", s, err)
	}
}

func TestFloodOfEntries(t *testing.T) {
	srv := serverstest.Redis(t)
	flood := func(t *testing.T, w world, set string, n int, head, tail string) {
		t.Helper()
		src := `for i = 1, ARGV[1] do redis.call('SADD', KEYS[1], ARGV[2] .. i .. ARGV[3]) end`
		if err := w.rdb.Eval(t.Context(), src, []string{set}, n, head, tail).Err(); err != nil && !errors.Is(err, redis.Nil) {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name       string
		set        string
		n          int
		head, tail string
		nodes      int // 0: the look fails
		refused    int
		why        string // of the last refusal, or of the error
	}{
		{"registered", "bazbeans:nodes:all", 100_000, "bogus", "", 20_000, 1, "80001 more entries are not read: 20000 nodes at most"},
		{"both lists", "bazbeans:nodes:active", 30_000, "bogus", "", 20_000, 1, "10001 more entries are not read: 20000 nodes at most"},
		{"no ids", "bazbeans:nodes:all", 5_000, "../", "", 1, 1_001, "4000 more entries are no node ids"},
		{"long ids", "bazbeans:nodes:all", 80, "bogus", strings.Repeat("x", 1<<20), 1, 80, ""},
		{"long ids, and too many to read", "bazbeans:nodes:all", 120_000, "bogus", strings.Repeat("x", 600), 1, 1, "bazbeans:nodes:all has 120001 members"},
		{"active long ids, and too many to read", "bazbeans:nodes:active", 120_000, "bogus", strings.Repeat("x", 600), 0, 0, "bazbeans:nodes:active has 120001 members"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := open(t, srv.Addr())
			w.rdb.FlushAll(t.Context())
			w.register(t, "web1") // behind each "bogus"
			flood(t, w, c.set, c.n, c.head, c.tail)
			s, err := patiently(func() (*pool.Snapshot, error) { return w.SnapshotFor(t.Context(), "", []string{"web1", "long-gone"}) })
			if c.nodes == 0 {
				if err == nil || !strings.Contains(err.Error(), c.why) {
					t.Errorf("%v, want %s", err, c.why)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Nodes) != c.nodes || len(s.Refused) != c.refused {
				t.Fatalf("%d nodes, %d refused", len(s.Nodes), len(s.Refused))
			}
			if last := s.Refused[len(s.Refused)-1]; !strings.Contains(last.Why, c.why) || len(last.ID) > 300 {
				t.Errorf("last refusal %+v, want %s", last, c.why)
			}
			if n := s.Nodes[len(s.Nodes)-1]; n.ID != "web1" || !n.Wanted() {
				t.Errorf("the good one is not among them; the last is %+v", n)
			}
		})
	}
}

// BenchmarkSnapshot looks at 10,000 nodes; careful is what a look costs while something very large is in the way.
func BenchmarkSnapshot(b *testing.B) {
	srv := serverstest.Redis(b)
	p, err := pool.Open(pool.Config{URL: srv.URL()})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	rdb := redis.NewClient(&redis.Options{Addr: srv.Addr(), ReadTimeout: time.Minute})
	defer rdb.Close()
	ctx := b.Context()
	pipe := rdb.Pipeline()
	for i := range 10_000 {
		id := fmt.Sprintf("node-%05d.dc1", i)
		pipe.SAdd(ctx, "bazbeans:nodes:all", id)
		pipe.SAdd(ctx, "bazbeans:nodes:active", id)
		pipe.Set(ctx, "bazbeans:node:"+id+":heartbeat", `{"timestamp":1700000000.5,"node_id":"`+id+
			`","data_center":"dc1","cpu_percent":12.5,"memory_percent":40,"disk_percent":70.1,"agent":"1.0","addr":"10.0.0.1","is_frozen":false,"is_active":true}`, time.Hour)
		pipe.HSet(ctx, "bazbeans:node:"+id+":status", "status", "active", "details", "", "timestamp", "1700000000.5", "data_center", "dc1",
			"is_frozen", "false", "is_active", "true", "address", "10.0.0.1", "port", "8000", "weight", "1", "labels", `{"zone":"a"}`,
			"agent", "1.0", "instance", "1700000000000/host/1", "rev", "1700000000000", "self_freeze", "", "left", "")
	}
	if _, err := pipe.Exec(ctx); err != nil {
		b.Fatal(err)
	}
	look := func(b *testing.B) {
		for b.Loop() {
			if s, err := p.Snapshot(ctx); err != nil || len(s.Nodes) != 10_000 {
				b.Fatalf("%v, %v", s, err)
			}
		}
	}
	b.Run("quick", look)
	world{rdb: rdb}.fill(b, "bazbeans:node:node-00001.dc1:status", "labels")
	if _, err := p.Snapshot(ctx); err != nil {
		b.Fatal(err)
	}
	b.Run("careful", look)
}
