package ctl

import (
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/pool"
)

// A load balancer that has proven nothing yet, as after a start of its lbd, serves no revision that could be named, and
// nobody knows of nothing under way.
func TestLBsUnproven(t *testing.T) {
	s := newSite(t)
	s.do(s.rdb.Set(t.Context(), "bazbeans:rev", late, 0))
	a := pool.Ack{ID: "lb1", Host: "edge1", Apply: "live", Live: "lua", Generation: 7, Busy: map[string]int{}}
	for _, row := range []struct{ busy, text, json string }{
		{"", "lb1 edge1 behind - - 7 lua - 0 0 - 0s serves no proven revision", `"busy": null`},
		{"web1", "lb1 edge1 behind - - 7 lua - 0 0 2 0s serves no proven revision", `"web1": 2`},
	} {
		if row.busy != "" {
			a.Busy[row.busy] = 2
		}
		s.ack(a)
		if out := s.must("lbs"); strings.Join(strings.Fields(out)[13:], " ") != row.text {
			t.Errorf("got\n%swant %s", out, row.text)
		}
		if out := s.must("lbs", "-o", "json"); !strings.Contains(out, row.json) {
			t.Errorf("no %s in %s", row.json, out)
		}
	}
	a.Error = "test: no"
	s.ack(a)
	if out := s.must("lbs"); !strings.HasSuffix(out, "  test: no\n") {
		t.Error(out)
	}
}
