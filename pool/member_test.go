package pool_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/bazbeans/bazbeans/pool"
)

// What Redis forgets, the agent's next heartbeat brings back; what an operator lifted stays lifted.
func TestOperatorsFreezeComesBackWhenRedisLostTheNode(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		m := w.register(t, "web1")
		if _, err := w.Freeze(ctx, "web1", "ann@desk", "disk \"swap\""); err != nil {
			t.Fatal(err)
		}
		st, err := m.Heartbeat(ctx, pool.Metrics{})
		if err != nil || st.New || st.Freeze == nil {
			t.Fatalf("heartbeat: %+v, %v", st, err)
		}
		was := *st.Freeze
		w.rdb.FlushDB(ctx)
		if st, err = m.Heartbeat(ctx, pool.Metrics{}); err != nil || st.Active || !st.New || st.Freeze == nil || *st.Freeze != was {
			t.Fatalf("after a flush: %+v, freeze %+v, %v; want %+v", st, st.Freeze, err, was)
		}
		n := w.node(t, "web1")
		wantState(t, n, pool.Frozen)
		if *n.Freeze != was || n.Active || n.Details != was.Reason {
			t.Errorf("node %+v, freeze %+v", n, n.Freeze)
		}
		if _, err := w.Unfreeze(ctx, "web1", "ann"); err != nil {
			t.Fatal(err)
		}
		if st, err = m.Heartbeat(ctx, pool.Metrics{}); err != nil || !st.Active || st.Freeze != nil {
			t.Errorf("a heartbeat brings back what an operator lifted: %+v, %v", st, err)
		}
		w.rdb.FlushDB(ctx)
		if st, err = m.Heartbeat(ctx, pool.Metrics{}); err != nil || !st.Active {
			t.Errorf("a flush brings back what an operator lifted: %+v, %v", st, err)
		}
		// The freezes alone are lost: that looks as if they were lifted.
		if _, err := w.Freeze(ctx, "web1", "ann", ""); err != nil {
			t.Fatal(err)
		}
		if _, err = m.Heartbeat(ctx, pool.Metrics{}); err != nil {
			t.Fatal(err)
		}
		w.rdb.Del(ctx, "bazbeans:nodes:frozen")
		if st, err = m.Heartbeat(ctx, pool.Metrics{}); err != nil || st.Freeze != nil {
			t.Errorf("%+v, %v", st, err)
		}
	})
}

// A failover to a replica that lagged, or a crash, brings back a node as it was before it was frozen: its rev is older
// than the agent's. The agent's next run knows that, too. What was lifted stays lifted.
func TestOperatorsFreezeComesBackWhenRedisWentBackInTime(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		m := w.register(t, "web1")
		status := "bazbeans:node:web1:status"
		before := w.rdb.HGetAll(ctx, status).Val()
		if _, err := w.Freeze(ctx, "web1", "ann@desk", "disk swap"); err != nil {
			t.Fatal(err)
		}
		known, err := m.Heartbeat(ctx, pool.Metrics{})
		if err != nil || known.Freeze == nil {
			t.Fatalf("%+v, %v", known, err)
		}
		back := func() {
			t.Helper()
			pipe := w.rdb.TxPipeline()
			pipe.Del(ctx, status, "bazbeans:nodes:frozen")
			pipe.HSet(ctx, status, before)
			pipe.SAdd(ctx, "bazbeans:nodes:active", "web1")
			if _, err := pipe.Exec(ctx); err != nil {
				t.Fatal(err)
			}
			wantState(t, w.node(t, "web1"), pool.Active)
		}
		back()
		if st, err := m.Heartbeat(ctx, pool.Metrics{}); err != nil || st.Active || st.New || st.Freeze == nil || *st.Freeze != *known.Freeze || st.Rev <= known.Rev {
			t.Errorf("%+v, freeze %+v, %v", st, st.Freeze, err)
		}
		wantState(t, w.node(t, "web1"), pool.Frozen)
		back()
		reg := registration("web1")
		reg.Freeze, reg.FreezeRev = known.Freeze, known.Rev
		m, st, err := w.Register(ctx, reg, "")
		if err != nil || st.Active || st.Freeze == nil {
			t.Errorf("the next run: %+v, %v", st, err)
		}
		// What is lifted is a change, whoever hears of it late: the node's own freeze stays, and there is no new rev.
		if st, err = m.SetHealth(ctx, "cpu"); err != nil || st.Freeze == nil {
			t.Fatalf("%+v, %v", st, err)
		}
		if u, err := w.Unfreeze(ctx, "web1", "ann"); err != nil || u.Own != "cpu" {
			t.Fatalf("%+v, %v", u, err)
		}
		if st, err = m.Heartbeat(ctx, pool.Metrics{}); err != nil || st.Freeze != nil {
			t.Errorf("lifted: %+v, freeze %+v, %v", st, st.Freeze, err)
		}
		reg.FreezeRev = 0 // an agent that did not keep it
		back()
		if _, st, err = w.Register(ctx, reg, ""); err != nil || !st.Active {
			t.Errorf("without a rev: %+v, %v", st, err)
		}
	})
}

func TestRegisterBringsAFreezeOnlyToANodeThatIsNew(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		reg := registration("web1")
		reg.Freeze = &pool.Freeze{By: "agent --start", At: "2026-01-02T03:04:05Z", Reason: "started frozen"}
		_, st, err := w.Register(t.Context(), reg, "")
		if err != nil || st.Active || !st.New || st.Freeze == nil || *st.Freeze != *reg.Freeze {
			t.Fatalf("%+v, freeze %+v, %v", st, st.Freeze, err)
		}
		wantState(t, w.node(t, "web1"), pool.Frozen)
		if _, err := w.Unfreeze(t.Context(), "web1", "ann"); err != nil {
			t.Fatal(err)
		}
		if _, st, err = w.Register(t.Context(), reg, ""); err != nil || !st.Active || st.New {
			t.Errorf("again: %+v, %v", st, err)
		}
	})
}

func TestUpdateChangesWhatTheNodeRegisters(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		m := w.register(t, "web1")
		rev := w.node(t, "web1").Rev
		reg := registration("web9")
		reg.Address, reg.Port, reg.Weight, reg.DataCenter = netip.MustParseAddr("10.0.0.2"), 9000, 5, "dc2"
		reg.Labels, reg.Agent = map[string]string{"zone": "b"}, "9"
		if err := m.Update(reg); err != nil {
			t.Fatal(err)
		}
		if st, err := m.Heartbeat(ctx, pool.Metrics{}); err != nil || st.Rev <= rev {
			t.Fatalf("%+v, %v: the change needs a revision", st, err)
		}
		n := w.node(t, "web1")
		if n.Address != reg.Address || n.Port != 9000 || n.Weight != 5 || n.DataCenter != "dc2" || n.Labels["zone"] != "b" || n.Agent != "1.0" {
			t.Errorf("node %+v", n)
		}
		reg.Weight = -1
		if err := m.Update(reg); err == nil {
			t.Error("a bad weight is taken")
		}
		if st, err := m.Heartbeat(ctx, pool.Metrics{}); err != nil || st.Rev != n.Rev {
			t.Errorf("after a refused update: %+v, %v", st, err)
		}
	})
}

// Another reason is shown, and changes nothing for a load balancer.
func TestAnotherReasonIsNoChange(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		m := w.register(t, "web1")
		first, err := m.SetHealth(t.Context(), "cpu")
		if err != nil {
			t.Fatal(err)
		}
		st, err := m.SetHealth(t.Context(), "disk")
		n := w.node(t, "web1")
		if err != nil || st.Rev != first.Rev || n.Rev != first.Rev || n.Details != "disk" || n.SelfFreeze != "disk" {
			t.Errorf("%+v after %+v, %v; node %+v", st, first, err, n)
		}
	})
}

// A node that drained, or was unwell, and left in order is gone by its own will: a guard must not take it for a dead one.
func TestLeaveOfANodeThatFrozeItself(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		m := w.register(t, "web1")
		if _, err := m.SetHealth(ctx, "drains"); err != nil {
			t.Fatal(err)
		}
		if err := m.Leave(ctx, "stopped"); err != nil {
			t.Fatal(err)
		}
		n := w.node(t, "web1")
		wantState(t, n, pool.Inactive)
		if !n.Left || n.IsFrozen {
			t.Errorf("node %+v", n)
		}
		m = w.register(t, "web1")
		if _, err := w.Freeze(ctx, "web1", "ann", "swap"); err != nil {
			t.Fatal(err)
		}
		if err := m.Leave(ctx, "stopped"); err != nil {
			t.Fatal(err)
		}
		if n = w.node(t, "web1"); !n.IsFrozen {
			t.Error("an operator's freeze ends with the agent")
		}
		wantState(t, n, pool.Frozen)
	})
}

// recorder is a hook that keeps the words of the last script that was called.
type recorder struct{ last []any }

func (*recorder) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*recorder) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (r *recorder) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") {
			r.last = cmd.Args()
		}
		return next(ctx, cmd)
	}
}

// A call that an agent gave up, because it was told to stop, may reach Redis after those that came later: a node that has left,
// or frozen itself, stays so.
func TestALateCallChangesNothing(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		r := &recorder{}
		w.rdb.AddHook(r)
		m, _, err := pool.New(w.rdb, "", "").Register(ctx, registration("web1"), "")
		if err != nil {
			t.Fatal(err)
		}
		healthy := func() (words []any) {
			t.Helper()
			if st, err := m.SetHealth(ctx, ""); err != nil || !st.Active {
				t.Fatalf("%+v, %v", st, err)
			}
			return r.last
		}
		for _, tc := range []struct {
			then  func() error
			state pool.State
		}{
			{func() error { _, err := m.SetHealth(ctx, "drains"); return err }, pool.Unhealthy},
			{func() error { return m.Leave(ctx, "stopped") }, pool.Inactive},
		} {
			words := healthy()
			if err := tc.then(); err != nil {
				t.Fatal(err)
			}
			before := w.node(t, "web1")
			wantState(t, before, tc.state)
			if said, err := w.rdb.Do(ctx, words...).StringSlice(); err != nil || !slices.Equal(said, []string{"late"}) {
				t.Errorf("%s: the late call was told %v, %v", tc.state, said, err)
			}
			if now := w.node(t, "web1"); now.State() != tc.state || now.Alive != before.Alive || now.Rev != before.Rev {
				t.Errorf("%s: after the late call %+v", tc.state, now)
			}
		}
		// A new run of the agent begins to count anew.
		if m, _, err = pool.New(w.rdb, "", "").Register(ctx, registration("web1"), ""); err != nil {
			t.Fatal(err)
		}
		if st, err := m.Heartbeat(ctx, pool.Metrics{}); err != nil || !st.Active {
			t.Errorf("%+v, %v", st, err)
		}
	})
}
