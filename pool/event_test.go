package pool_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

func TestEventJSON(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		sub := w.rdb.Subscribe(ctx, "bazbeans:lb_events")
		defer sub.Close()
		if _, err := sub.Receive(ctx); err != nil {
			t.Fatal(err)
		}
		m := w.register(t, "web1")
		if _, err := w.Freeze(ctx, "web1", "ann", `a "b" \ ü`); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Unfreeze(ctx, "web1", "ann"); err != nil {
			t.Fatal(err)
		}
		if err := m.Leave(ctx, "bye"); err != nil {
			t.Fatal(err)
		}
		want := []string{
			`map[active_count:1 active_nodes:[web1] by:agent data_center:dc1 event:node_registered node_id:web1 node_port:8000 reason:]`,
			`map[active_count:0 active_nodes:[] by:ann event:node_frozen node_id:web1 reason:a "b" \ ü]`,
			`map[active_count:1 active_nodes:[web1] by:ann event:node_unfrozen node_id:web1 reason:]`,
			`map[active_count:0 active_nodes:[] by:agent event:node_removed node_id:web1 reason:bye]`,
		}
		last := 0.0
		for i, want := range want {
			msg, err := sub.ReceiveMessage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var e map[string]any
			if err := json.Unmarshal([]byte(msg.Payload), &e); err != nil {
				t.Fatalf("%s: %v", msg.Payload, err)
			}
			if ts, _ := e["timestamp"].(string); !strings.HasSuffix(ts, "Z") {
				t.Errorf("timestamp %q", ts)
			} else if _, err := time.Parse(time.RFC3339, ts); err != nil {
				t.Error(err)
			}
			if e["prev"].(float64) != last || e["rev"].(float64) <= last {
				t.Errorf("event %d: prev %v rev %v, want prev %v", i, e["prev"], e["rev"], last)
			}
			last = e["rev"].(float64)
			delete(e, "timestamp")
			delete(e, "rev")
			delete(e, "prev")
			if got := fmt.Sprint(e); got != want {
				t.Errorf("event %d\n got %s\nwant %s", i, got, want)
			}
		}
		recs, err := w.Events(ctx, "", 3)
		if err != nil || len(recs) != 3 || recs[0].Kind != pool.NodeFrozen || recs[2].Kind != pool.NodeRemoved || recs[2].Rev != int64(last) || recs[0].By != "ann" {
			t.Errorf("stream %+v, %v", recs, err)
		}
		if more, err := w.Events(ctx, recs[1].StreamID, 10); err != nil || len(more) != 1 {
			t.Errorf("after %s: %+v, %v", recs[1].StreamID, more, err)
		}
	})
}

// Who takes a freeze over, or says another reason, and who forgets a load balancer, stands in the stream; no event is
// published, since nothing has changed for who listens.
func TestOnlyTheStreamTellsOfIt(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		w.register(t, "web1")
		frozen, err := w.Freeze(ctx, "web1", "ann", "disk swap")
		if err != nil {
			t.Fatal(err)
		}
		sub := w.rdb.Subscribe(ctx, "bazbeans:lb_events")
		defer sub.Close()
		if _, err := sub.Receive(ctx); err != nil {
			t.Fatal(err)
		}
		for _, f := range []struct{ by, reason string }{{"ann", "disk swap"}, {"bob", "disk swap"}, {"bob", "disk swap"}, {"cleo", ""}, {"bob", "disk is dead"}} {
			if c, err := w.Freeze(ctx, "web1", f.by, f.reason); err != nil || c.Changed || c.Rev != frozen.Rev {
				t.Errorf("%+v: %+v, %v", f, c, err)
			}
		}
		if err := w.rdb.HSet(ctx, "bazbeans:nodes:frozen", "web1", "{not json").Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Freeze(ctx, "web1", "bob", "again"); err != nil {
			t.Fatal(err)
		}
		w.ack(t, pool.Ack{ID: "lb1"})
		if err := w.ForgetLB(ctx, "lb1", "ann"); err != nil {
			t.Fatal(err)
		}
		recs, err := w.Events(ctx, "", 100)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range recs[2:] { // registered, frozen
			got = append(got, strings.Join([]string{r.Kind, r.NodeID, r.LB, r.By, r.Reason, fmt.Sprint(r.Rev == frozen.Rev)}, ","))
		}
		want := "freeze_replaced,web1,,bob,disk swap,true freeze_replaced,web1,,bob,disk is dead,true freeze_replaced,web1,,bob,again,true lb_forgotten,,lb1,ann,,false"
		if strings.Join(got, " ") != want {
			t.Errorf("the stream has %q, want %s", got, want)
		}
		// What was published before this would have come first.
		w.rdb.Publish(ctx, "bazbeans:lb_events", "end")
		if m, err := sub.ReceiveMessage(ctx); err != nil || m.Payload != "end" {
			t.Errorf("published: %v, %v", m, err)
		}
	})
}

func TestWatchTellsOfEverySubscription(t *testing.T) {
	srv := serverstest.Redis(t)
	w := open(t, srv.Addr())
	heard := listen(t, w.Pool)
	heard.wait(t, "subscribed")
	w.rdb.Publish(t.Context(), "bazbeans:lb_events", "{not json")
	w.register(t, "web1")
	heard.wait(t, "rubbish", "node_registered")
	if err := srv.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	heard.wait(t, "subscribed")
}

func TestQueuedFreezes(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		w.register(t, "web1")
		if _, ok, err := w.Next(ctx, "web1", time.Second); ok || err != nil {
			t.Errorf("empty queue: %t, %v", ok, err)
		}
		// What waits behind a command that an agent carries out is newer than it.
		w.rdb.RPush(ctx, "bazbeans:node:web1:commands", `{"type":"unfreeze"}`)
		if _, err := w.FreezeQueued(ctx, "web1", "queue", "by python"); err != nil {
			t.Fatal(err)
		}
		if c := w.next(t); c.Type != "unfreeze" {
			t.Errorf("after a queued freeze: %+v", c)
		}
		if u, err := w.UnfreezeQueued(ctx, "web1", "queue"); err != nil || !u.Changed {
			t.Errorf("queued unfreeze: %+v, %v", u, err)
		}
		// An operator's freeze removes older words about freezing, and nothing else.
		w.rdb.RPush(ctx, "bazbeans:node:web1:commands", `{"type":"unfreeze"}`, `{"type":"exec"}`, `rubbish`)
		if _, err := w.Freeze(ctx, "web1", "ann", ""); err != nil {
			t.Fatal(err)
		}
		if q := w.rdb.LRange(ctx, "bazbeans:node:web1:commands", 0, -1).Val(); fmt.Sprint(q) != `[{"type":"exec"} rubbish]` {
			t.Errorf("queue %q", q)
		}
	})
}

func TestAcks(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		a := pool.Ack{ID: "lb1", Host: "h1", Rev: 1700000000123, Generation: 7, Held: []string{"web2"}, Draining: 1, Apply: "reload", Error: "e", Instance: "i1", Blind: true,
			Old:  []pool.OldWorker{{PID: 4711, Connections: 3}},
			Live: "lua", Busy: map[string]int{"web3": 2},
			Refused: []pool.Refusal{{ID: "web4", Why: "its address is web2's"}}}
		if _, err := w.WriteAck(ctx, a, time.Minute); err != nil {
			t.Fatal(err)
		}
		w.rdb.SAdd(ctx, "bazbeans:lbs", "lb2", "evil\nid")
		lbs, err := w.LBs(ctx)
		if err != nil || len(lbs) != 2 || !lbs[1].Silent || lbs[1].ID != "lb2" {
			t.Fatalf("%+v, %v", lbs, err)
		}
		if lbs[0].At.IsZero() || lbs[0].Silent {
			t.Errorf("%+v", lbs[0])
		}
		lbs[0].At = time.Time{}
		if fmt.Sprint(lbs[0].Ack) != fmt.Sprint(a) {
			t.Errorf("got %+v, want %+v", lbs[0].Ack, a)
		}
		// Once its word has expired, Redis still knows since when.
		w.rdb.Del(ctx, "bazbeans:lb:lb1")
		w.rdb.PExpire(ctx, "bazbeans:lb:lb1:last", 24*time.Hour-3*time.Minute)
		if lbs, err := w.LBs(ctx); err != nil || !lbs[0].Silent || lbs[0].SilentFor.Truncate(time.Minute) != 3*time.Minute || lbs[1].SilentFor != 0 {
			t.Errorf("%+v, %v", lbs, err)
		}
		if err := w.ForgetLB(ctx, "lb2", "ann"); err != nil {
			t.Error(err)
		}
		if err := w.ForgetLB(ctx, "lb2", "ann"); err == nil {
			t.Error("forgot it twice")
		}
	})
}
