package pool_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a pool and, beside it, a plain client for what Python and rubbish write.
type world struct {
	*pool.Pool
	rdb *redis.Client
	// expire lets all heartbeats of up to a minute expire.
	expire func(t *testing.T, ids ...string)
}

// onEach runs a case on a real redis-server and on miniredis, which bbdev embeds.
func onEach(t *testing.T, name string, f func(t *testing.T, w world)) {
	t.Run(name+"/redis", func(t *testing.T) {
		w := open(t, serverstest.Redis(t).Addr())
		w.expire = func(t *testing.T, ids ...string) {
			for _, id := range ids {
				if err := w.rdb.PExpire(t.Context(), "bazbeans:node:"+id+":heartbeat", 0).Err(); err != nil {
					t.Fatal(err)
				}
			}
		}
		f(t, w)
	})
	t.Run(name+"/miniredis", func(t *testing.T) {
		m := miniredis.RunT(t)
		w := open(t, m.Addr())
		w.expire = func(*testing.T, ...string) { m.FastForward(time.Minute) }
		f(t, w)
	})
}

func open(t *testing.T, addr string) world {
	t.Helper()
	p, err := pool.Open(pool.Config{URL: "redis://" + addr})
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: addr, ReadTimeout: time.Minute, WriteTimeout: time.Minute})
	t.Cleanup(func() { _, _ = p.Close(), rdb.Close() })
	return world{Pool: p, rdb: rdb}
}

func registration(id string) pool.Registration {
	return pool.Registration{ID: id, DataCenter: "dc1", Address: netip.MustParseAddr("10.0.0.1"), Port: 8000, Weight: 2,
		Labels: map[string]string{"zone": "a"}, Agent: "1.0", Instance: "host/1", TTL: 30 * time.Second}
}

func (w world) register(t *testing.T, id string) *pool.Member {
	t.Helper()
	m, st, err := w.Register(t.Context(), registration(id), "")
	if err != nil || !st.Active {
		t.Fatalf("register %s: %+v, %v", id, st, err)
	}
	return m
}

// python writes what the original agent writes at its start: no "agent" in the heartbeat, no rev.
func (w world) python(t *testing.T, id, address string) {
	t.Helper()
	pipe := w.rdb.Pipeline()
	pipe.SAdd(t.Context(), "bazbeans:nodes:all", id)
	pipe.SAdd(t.Context(), "bazbeans:nodes:active", id)
	pipe.HSet(t.Context(), "bazbeans:node:"+id+":status", "status", "active", "details", "", "timestamp", "1700000000.5",
		"data_center", "dc2", "is_frozen", "false", "is_active", "true")
	pipe.HSet(t.Context(), "bazbeans:node_ips", id, address)
	pipe.SetEx(t.Context(), "bazbeans:node:"+id+":heartbeat", `{"timestamp": 1700000000.5, "node_id": "`+id+
		`", "data_center": "dc2", "cpu_percent": 12.5, "memory_percent": 40.0, "disk_percent": 70.1, "is_frozen": false, "is_active": true}`, 30*time.Second)
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (w world) node(t *testing.T, id string) *pool.Node {
	t.Helper()
	n, err := w.Node(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func wantState(t *testing.T, n *pool.Node, want pool.State) {
	t.Helper()
	if n.State() != want {
		t.Fatalf("node %s is %s (%s), want %s: %+v", n.ID, n.State(), n.Why(), want, *n)
	}
}
