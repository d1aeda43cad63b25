package lbd

import (
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// A heartbeat that ended while the pool was looked at is no longer in the future, and the node was seen alive all the
// same: without a look of its own it would stay until the next node's heartbeat ends, or the resync.
func TestLooksAgainAtWhatExpiredDuringTheLook(t *testing.T) {
	l := &LB{}
	l.cfg.Timing.Resync = 10 * time.Second
	now := time.Now()
	node := func(id string, expires time.Time) fact {
		n := pool.Node{ID: id, Active: true, Alive: true, Expires: expires}
		if !n.Wanted() {
			t.Fatalf("%+v is not wanted", n)
		}
		return fact{Node: n}
	}
	f := &facts{nodes: []fact{node("web1", now.Add(5*time.Second)), node("web2", now.Add(-time.Second))}}
	l.planLook(now, f, &Plan{})
	if d := l.planned.Sub(now); d <= 0 || d > 100*time.Millisecond {
		t.Errorf("the next look is planned in %v, want one at once", d)
	}
}
