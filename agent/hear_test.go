package agent

import (
	"fmt"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

func TestFreezeIsHeardOfAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.start()
		after(interval + time.Second)
		beats := func() (n int) {
			s.pool.set(func(f *fakePool) { n = len(f.beats) })
			return n
		}
		for _, c := range []struct {
			event pool.Event
			more  int
		}{
			{pool.Event{Kind: pool.NodeFrozen, NodeID: "n1", Rev: 7, By: "ann"}, 1},
			{pool.Event{Kind: pool.NodeUnfrozen, NodeID: "n1", Rev: 8}, 1},
			{pool.Event{Kind: pool.NodeFrozen, NodeID: "n1", Rev: 1, By: "agent"}, 0}, // what it said itself
			{pool.Event{Kind: pool.NodeFrozen, NodeID: "n2", Rev: 9}, 0},
			{pool.Event{Kind: pool.NodeRemoved, NodeID: "n1", Rev: 9}, 0},
		} {
			was := beats()
			s.pool.events <- c.event
			after(time.Millisecond)
			if n := beats() - was; n != c.more {
				t.Errorf("%+v: %d heartbeats, want %d", c.event, n, c.more)
			}
		}
		s.wantStop()
	})
}

// With a heartbeat each ten minutes: only the event can tell so soon.
func TestFreezeInRedisIsHeardOfAtOnce(t *testing.T) {
	t.Parallel()
	srv := serverstest.Redis(t)
	k := dial(t, srv)
	cfg := realConfig(srv.URL())
	cfg.HeartbeatInterval, cfg.HeartbeatTTL = Duration(10*time.Minute), Duration(20*time.Minute)
	a := startReal(t, cfg)
	a.wantLog(t, "node is active")
	k.wait(`["bazbeans:lb_events",1]`, "PUBSUB", "NUMSUB", "bazbeans:lb_events")
	if _, err := k.pool(srv.URL()).Freeze(t.Context(), "n1", "ann", "disk swap"); err != nil {
		t.Fatal(err)
	}
	a.wantLog(t, "frozen by ann: disk swap")
}

// An ACL line from before agents listened: it is said once, not at each try, and what comes later is heard.
func TestMissingRightToListenIsSaidOnce(t *testing.T) {
	t.Parallel()
	srv := serverstest.Redis(t)
	k := dial(t, srv)
	k.do("ACL", "SETUSER", "n1", "on", ">secret", "~*", "&*", "+@all", "-subscribe")
	cfg := realConfig("redis://n1:secret@" + srv.Addr())
	cfg.HeartbeatInterval, cfg.HeartbeatTTL = Duration(10*time.Minute), Duration(20*time.Minute)
	a := startReal(t, cfg)
	a.wantLog(t, "node is active")
	serverstest.Eventually(t, soon, func() error {
		if stats := k.do("INFO", "commandstats"); !regexp.MustCompile(`cmdstat_subscribe:.*rejected_calls=[2-9]`).MatchString(stats) {
			return fmt.Errorf("not refused twice yet: %s", stats)
		}
		return nil
	})
	a.wantLog(t, "hears no events")
	k.do("ACL", "SETUSER", "n1", "+subscribe")
	k.wait(`["bazbeans:lb_events",1]`, "PUBSUB", "NUMSUB", "bazbeans:lb_events")
	if _, err := k.pool(srv.URL()).Freeze(t.Context(), "n1", "ann", "disk swap"); err != nil {
		t.Fatal(err)
	}
	a.wantLog(t, "frozen by ann: disk swap")
	if n := a.log.count("hears no events"); n != 1 {
		t.Errorf("said %d times", n)
	}
}
