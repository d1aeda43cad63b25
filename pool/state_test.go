package pool_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

func TestRegisterWritesTheOriginalKeys(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		began := time.Now()
		w.register(t, "web1")
		for _, set := range []string{"bazbeans:nodes:all", "bazbeans:nodes:active"} {
			if !w.rdb.SIsMember(ctx, set, "web1").Val() {
				t.Errorf("web1 is not in %s", set)
			}
		}
		if ip := w.rdb.HGet(ctx, "bazbeans:node_ips", "web1").Val(); ip != "10.0.0.1" {
			t.Errorf("node_ips: %q", ip)
		}
		if ttl := w.rdb.TTL(ctx, "bazbeans:node:web1:heartbeat").Val(); ttl <= 25*time.Second-time.Since(began) || ttl > 30*time.Second {
			t.Errorf("heartbeat TTL %s", ttl)
		}
		var beat map[string]any
		if err := json.Unmarshal([]byte(w.rdb.Get(ctx, "bazbeans:node:web1:heartbeat").Val()), &beat); err != nil {
			t.Fatal(err)
		}
		if ts, ok := beat["timestamp"].(float64); !ok || time.Since(time.Unix(int64(ts), 0)) > time.Minute {
			t.Errorf("timestamp %v", beat["timestamp"])
		}
		delete(beat, "timestamp")
		delete(beat, "instance")
		want := "map[addr:10.0.0.1 agent:1.0 cpu_percent:0 data_center:dc1 disk_percent:0 is_active:true is_frozen:false memory_percent:0 node_id:web1]"
		if got := fmt.Sprint(beat); got != want {
			t.Errorf("heartbeat\n got %s\nwant %s", got, want)
		}
		h := w.rdb.HGetAll(ctx, "bazbeans:node:web1:status").Val()
		if _, err := strconv.ParseFloat(h["timestamp"], 64); err != nil {
			t.Errorf("hash timestamp %q", h["timestamp"])
		}
		for k, v := range map[string]string{"status": "active", "details": "", "data_center": "dc1", "is_frozen": "false", "is_active": "true",
			"address": "10.0.0.1", "port": "8000", "weight": "2", "labels": `{"zone":"a"}`, "agent": "1.0"} {
			if h[k] != v {
				t.Errorf("hash %s is %q, want %q", k, h[k], v)
			}
		}
		n := w.node(t, "web1")
		wantState(t, n, pool.Active)
		if n.Address.String() != "10.0.0.1" || n.Port != 8000 || n.Weight != 2 || n.Labels["zone"] != "a" || n.Expires.IsZero() || n.Rev == 0 {
			t.Errorf("node %+v", n)
		}
	})
}

func TestHeartbeatSaysNothingWhenNothingChanged(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		m := w.register(t, "web1")
		before := w.node(t, "web1").Rev
		st, err := m.Heartbeat(t.Context(), pool.Metrics{CPU: 12.25, Memory: 50, Disk: 99})
		if err != nil || !st.Active || st.Rev != before {
			t.Fatalf("standing %+v, %v; rev before %d", st, err, before)
		}
		if n := w.node(t, "web1"); n.Metrics != (pool.Metrics{CPU: 12.25, Memory: 50, Disk: 99}) {
			t.Errorf("metrics %+v", n.Metrics)
		}
		if evs, _ := w.Events(t.Context(), "", 10); len(evs) != 1 {
			t.Errorf("events %+v", evs)
		}
	})
}

func TestFreezeAndUnfreeze(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		m := w.register(t, "web1")
		rev := w.node(t, "web1").Rev
		c, err := w.Freeze(ctx, "web1", "ann@desk", "disk swap")
		if err != nil || !c.Changed || c.Rev <= rev {
			t.Fatalf("freeze: %+v, %v", c, err)
		}
		n := w.node(t, "web1")
		wantState(t, n, pool.Frozen)
		if n.Freeze.By != "ann@desk" || n.Why() != "disk swap" || n.Active || n.Rev != c.Rev {
			t.Errorf("node %+v freeze %+v", n, n.Freeze)
		}
		if again, err := w.Freeze(ctx, "web1", "bob", "more"); err != nil || again.Changed || again.Rev != c.Rev {
			t.Errorf("freeze again: %+v, %v", again, err)
		}
		if _, err := w.Freeze(ctx, "web1", "bob", ""); err != nil || w.node(t, "web1").Why() != "more" {
			t.Errorf("a freeze without a reason keeps the one there is: %q, %v", w.node(t, "web1").Why(), err)
		}
		// Neither a heartbeat, nor good health, nor a new start of the agent lifts it.
		if st, err := m.Heartbeat(ctx, pool.Metrics{}); err != nil || st.Active || st.Freeze == nil {
			t.Errorf("heartbeat: %+v, %v", st, err)
		}
		if _, err := m.SetHealth(ctx, ""); err != nil {
			t.Error(err)
		}
		m2, st, err := w.Register(ctx, registration("web1"), "")
		if err != nil || st.Active || st.Freeze == nil {
			t.Errorf("register while frozen: %+v, %v", st, err)
		}
		wantState(t, w.node(t, "web1"), pool.Frozen)
		u, err := w.Unfreeze(ctx, "web1", "ann")
		if err != nil || !u.Changed || u.Rev <= c.Rev {
			t.Fatalf("unfreeze: %+v, %v", u, err)
		}
		wantState(t, w.node(t, "web1"), pool.Active)
		if u, err = w.Unfreeze(ctx, "web1", "ann"); err != nil || u.Changed {
			t.Errorf("unfreeze again: %+v, %v", u, err)
		}
		if st, err := m2.Heartbeat(ctx, pool.Metrics{}); err != nil || !st.Active || st.Rev != w.node(t, "web1").Rev {
			t.Errorf("heartbeat after: %+v, %v", st, err)
		}
	})
}

func TestUnknownNodeIsNoNewNode(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		for name, call := range map[string]func() error{
			"freeze":   func() error { _, err := w.Freeze(t.Context(), "ghost", "a", ""); return err },
			"unfreeze": func() error { _, err := w.Unfreeze(t.Context(), "ghost", "a"); return err },
			"forget":   func() error { _, err := w.Forget(t.Context(), "ghost", "a"); return err },
			"node":     func() error { _, err := w.Node(t.Context(), "ghost"); return err },
			"send":     func() error { return w.Send(t.Context(), "ghost", pool.NewCommand("freeze", "a", 0, nil)) },
		} {
			if err := call(); !errors.Is(err, pool.ErrNoSuchNode) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if keys := w.rdb.Keys(t.Context(), "*").Val(); len(keys) != 0 {
			t.Errorf("keys left: %v", keys)
		}
	})
}

func TestOwnFreezeAndOperatorsFreezeAreTwoThings(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		m := w.register(t, "web1")
		if st, err := m.SetHealth(ctx, "cpu 97% > 90%"); err != nil || st.Active {
			t.Fatalf("%+v, %v", st, err)
		}
		n := w.node(t, "web1")
		wantState(t, n, pool.Unhealthy)
		if n.Why() != "cpu 97% > 90%" {
			t.Errorf("why %q", n.Why())
		}
		// An operator can't lift it.
		u, err := w.Unfreeze(ctx, "web1", "ann")
		if err != nil || u.Changed || u.Own != "cpu 97% > 90%" {
			t.Errorf("unfreeze: %+v, %v", u, err)
		}
		// Both at once: lifting one leaves the other, in either order.
		if _, err = w.Freeze(ctx, "web1", "ann", "swap"); err != nil {
			t.Fatal(err)
		}
		if u, err = w.Unfreeze(ctx, "web1", "ann"); err != nil || !u.Changed || u.Own != "cpu 97% > 90%" {
			t.Errorf("unfreeze of both: %+v, %v", u, err)
		}
		wantState(t, w.node(t, "web1"), pool.Unhealthy)
		if _, err = w.Freeze(ctx, "web1", "ann", "swap"); err != nil {
			t.Fatal(err)
		}
		if st, err := m.SetHealth(ctx, ""); err != nil || st.Active || st.Freeze == nil {
			t.Errorf("well again while frozen: %+v, %v", st, err)
		}
		if u, err = w.Unfreeze(ctx, "web1", "ann"); err != nil || !u.Changed || u.Own != "" {
			t.Errorf("unfreeze when well: %+v, %v", u, err)
		}
		wantState(t, w.node(t, "web1"), pool.Active)
	})
}

func TestComesBackWhenRedisLostIt(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		m := w.register(t, "web1")
		sick := w.register(t, "web2")
		if _, err := sick.SetHealth(ctx, "disk"); err != nil {
			t.Fatal(err)
		}
		rev := w.node(t, "web2").Rev
		// More than one change a millisecond runs ahead of the clock, by so much.
		serverstest.Eventually(t, time.Minute, func() error {
			if now := w.rdb.Time(ctx).Val(); now.UnixMilli() <= rev {
				return fmt.Errorf("redis's clock says %d, the revision is %d", now.UnixMilli(), rev)
			}
			return nil
		})
		w.rdb.FlushDB(ctx)
		st, err := m.Heartbeat(ctx, pool.Metrics{})
		if err != nil || !st.Active || st.Rev <= rev {
			t.Fatalf("%+v, %v: the revision must not run backwards (before: %d)", st, err, rev)
		}
		wantState(t, w.node(t, "web1"), pool.Active)
		if st, err = sick.Heartbeat(ctx, pool.Metrics{}); err != nil || st.Active {
			t.Fatalf("%+v, %v", st, err)
		}
		wantState(t, w.node(t, "web2"), pool.Unhealthy)
		// Expired and back: others must hear of it.
		w.expire(t, "web1", "web2")
		before := w.node(t, "web1")
		wantState(t, before, pool.Dead)
		if st, err = m.Heartbeat(ctx, pool.Metrics{}); err != nil || st.Rev <= before.Rev {
			t.Errorf("back: %+v, %v", st, err)
		}
		wantState(t, w.node(t, "web1"), pool.Active)
	})
}

func TestNewerInstanceWins(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		old := w.register(t, "web1")
		young := w.register(t, "web1")
		var superseded *pool.SupersededError
		if _, err := old.Heartbeat(t.Context(), pool.Metrics{}); !errors.As(err, &superseded) || superseded.By != young.Instance() {
			t.Errorf("old heartbeat: %v, young is %s", err, young.Instance())
		}
		if err := old.Leave(t.Context(), "stop"); !errors.As(err, &superseded) {
			t.Errorf("old leave: %v", err)
		}
		wantState(t, w.node(t, "web1"), pool.Active)
		w.rdb.FlushDB(t.Context())
		if _, err := old.Heartbeat(t.Context(), pool.Metrics{}); err != nil {
			t.Errorf("nobody else there: %v", err)
		}
		if _, err := young.Heartbeat(t.Context(), pool.Metrics{}); err != nil {
			t.Errorf("the younger takes over again: %v", err)
		}
		if _, err := old.Heartbeat(t.Context(), pool.Metrics{}); !errors.As(err, &superseded) {
			t.Errorf("old heartbeat after that: %v", err)
		}
	})
}

func TestLeaveCleanupForget(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		m := w.register(t, "web1")
		w.register(t, "web2")
		w.python(t, "py1", "10.0.0.9")
		if err := m.Leave(ctx, "stopped"); err != nil {
			t.Fatal(err)
		}
		n := w.node(t, "web1")
		wantState(t, n, pool.Inactive)
		if n.Status != "left" || n.Alive || !n.Registered {
			t.Errorf("after leave %+v", n)
		}
		if gone, err := w.Cleanup(ctx, "ann"); err != nil || len(gone) != 0 {
			t.Errorf("cleanup of the living: %v, %v", gone, err)
		}
		w.expire(t, "web2", "py1")
		gone, err := w.Cleanup(ctx, "ann")
		if err != nil || fmt.Sprint(gone) != "[py1 web2]" {
			t.Errorf("cleanup: %v, %v", gone, err)
		}
		wantState(t, w.node(t, "web2"), pool.Inactive)
		if _, err := w.Forget(ctx, "web2", "ann"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Node(ctx, "web2"); !errors.Is(err, pool.ErrNoSuchNode) {
			t.Errorf("after forget: %v", err)
		}
		hostile := "../evil\n{}"
		w.rdb.SAdd(ctx, "bazbeans:nodes:all", hostile)
		if _, err := w.Forget(ctx, hostile, "ann"); err != nil {
			t.Errorf("forget takes any id: %v", err)
		}
	})
}
