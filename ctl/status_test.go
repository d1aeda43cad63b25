package ctl

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/pool"
)

// What is under way on a node is said by the load balancers that count, also when it is nothing.
func TestUnderWay(t *testing.T) {
	s := newSite(t)
	s.node("web1", true)
	s.ack(pool.Ack{ID: "lb1", Rev: late, Apply: "reload"})
	if out := s.must("status", "web1"); strings.Contains(out, "under way") {
		t.Errorf("nobody counts, and yet:\n%s", out)
	}
	s.ack(pool.Ack{ID: "lb2", Rev: late, Apply: "live", Live: "lua", Busy: map[string]int{"web1": 2, "web2": 7}})
	s.ack(pool.Ack{ID: "lb3", Rev: late, Apply: "live", Live: "resolve", Busy: map[string]int{"web1": 1}})
	s.ack(pool.Ack{ID: "lb4", Rev: late, Apply: "live", Live: "lua", Busy: map[string]int{}})
	s.ack(pool.Ack{ID: "lb5", Rev: late, Apply: "live", Live: "lua", Busy: map[string]int{"web1": 9}})
	s.do(s.rdb.Del(t.Context(), "bazbeans:lb:lb5")) // it is silent: nobody knows
	var zero struct{ Busy map[string]int }
	if err := json.Unmarshal([]byte(s.must("status", "web1", "-o", "json")), &zero); err != nil || !maps.Equal(zero.Busy, map[string]int{"lb2": 2, "lb3": 1, "lb4": 0}) {
		t.Errorf("busy is %v, %v", zero.Busy, err)
	}
	if out := s.must("status", "web1"); !strings.Contains(out, "\nunder way    2 requests by lb2, 1 connection by lb3, 0 requests by lb4\n") {
		t.Error(out)
	}
	// One that has just started has not told what it counts to nodes yet.
	s.ack(pool.Ack{ID: "lb4", Apply: "live", Live: "lua", Busy: map[string]int{}})
	s.ack(pool.Ack{ID: "lb5", Apply: "live", Live: "lua", Busy: map[string]int{"web1": 9}})
	if out := s.must("status", "web1"); !strings.Contains(out, "by lb3, not known by lb4, 9 requests by lb5\n") {
		t.Error(out)
	}
	var got struct{ Busy map[string]int }
	if err := json.Unmarshal([]byte(s.must("status", "web1", "-o", "json")), &got); err != nil || !maps.Equal(got.Busy, map[string]int{"lb2": 2, "lb3": 1, "lb5": 9}) {
		t.Errorf("busy is %v, %v", got.Busy, err)
	}
}
