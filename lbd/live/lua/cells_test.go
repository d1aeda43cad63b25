package lua_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// asksForCounts are locations that tell how the counts are kept, and lose them.
const asksForCounts = `
location = /kinds { content_by_lua_block {
	local d, kinds = ngx.shared.bazbeans_1, {}
	for _, k in ipairs(d:get_keys(0)) do
		if k:find("^c%d") then kinds[type(d:get(k))] = true end
	end
	ngx.print(kinds.number and "cells" or "", kinds.string and "strings" or "") } }
location = /taken { content_by_lua_block { ngx.print(ngx.shared.bazbeans_1:get("cells") or 0) } }
location = /lose { content_by_lua_block { ngx.shared.bazbeans_1:flush_all() ngx.shared.bazbeans_1:flush_expired() } }
location / { proxy_pass http://app; }`

// TestCells: counts are kept in cells on every Nginx, and those of workers that are no more are used again.
func TestCells(t *testing.T) {
	each(t, func(t *testing.T, suite string) {
		s := newSite(t, peersOf(newNodes(t, 20)), siteOptions{suite: suite, server: asksForCounts})
		taken := func() (n int) {
			s.shares("/", 40)
			text, _ := s.get("/taken")
			if _, err := fmt.Sscan(text, &n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n := taken(); n < 2 || n > 4 { // two workers, 20 slots
			t.Errorf("%d cells were taken, want 4 at most", n)
		}
		if kinds, _ := s.get("/kinds"); kinds != "cells" {
			t.Errorf("counts are kept in %q", kinds)
		}
		for range 6 {
			s.reload()
			serverstest.Eventually(t, soon, func() error { // what old workers hold is free when they have ended
				if n := len(s.workers()); n != 2 {
					return fmt.Errorf("%d workers", n)
				}
				return nil
			})
			taken()
		}
		if n := taken(); n > 16 { // the last workers end when they like
			t.Errorf("after 6 reloads %d cells were taken: they are not used again", n)
		}
		s.idle()
	})
}

// TestNewCellsAreSeen: what a worker counts in a cell that it took after the others had looked for its cells counts for
// them, too.
func TestNewCellsAreSeen(t *testing.T) {
	h := newHolding(t, 40)
	s := newSite(t, peersOf(h.nodes), siteOptions{method: "least_conn"})
	want := map[int]int{}
	for i := range 80 {
		h.start(s, "/hold")
		h.await(i + 1)
		want[i/2] = 2
	}
	s.busyIs(want)
	h.release()
	s.idle()
}

// TestCountsOutliveALoss: when the dictionary is emptied, or a worker is taken for dead while it lives, what it has under
// way is known again as soon as anybody looks, and what it counts goes to no cell that is another's by then.
func TestCountsOutliveALoss(t *testing.T) {
	for _, noCells := range []bool{false, true} {
		h := newHolding(t, 2)
		s := newSite(t, peersOf(h.nodes), siteOptions{server: asksForCounts, workers: 2, noCells: noCells})
		for i := range 8 {
			h.start(s, "/hold")
			h.await(i + 1)
		}
		want := map[int]int{0: h.held()[0], 1: h.held()[1]}
		s.busyIs(want)
		s.get("/lose")
		s.shares("/", 40)
		s.busyIs(want)
		var pids []int
		for _, w := range s.state().Workers {
			pids = append(pids, w.PID)
		}
		if err := s.client.Forget(t.Context(), pids); err != nil {
			t.Fatal(err)
		}
		s.shares("/", 40)
		s.busyIs(want)
		h.release()
		s.idle()
	}
}

// TestALossIsNoticed by the requests themselves, within a second: until lbd looks, nobody else does.
func TestALossIsNoticed(t *testing.T) {
	s := newSite(t, peersOf(newNodes(t, 2)), siteOptions{workers: 1, server: `
location = /known { content_by_lua_block { ngx.print(#ngx.shared.bazbeans_1:get_keys(0)) } }` + asksForCounts})
	s.put(s.peers)
	s.shares("/", 4)
	s.get("/lose")
	serverstest.Eventually(t, soon, func() error {
		s.shares("/", 2)
		if known, _ := s.get("/known"); known == "0" {
			return errors.New("the dictionary is empty")
		}
		return nil
	})
}

// TestWithoutCells: a worker that finds no cells counts in the dictionary, and workers of both kinds see each other: an
// old one here goes on with the dictionary when a reload has brought the zone.
func TestWithoutCells(t *testing.T) {
	for _, method := range []string{"least_conn", "random two least_conn", "round_robin"} {
		h := newHolding(t, 2)
		peers := peersOf(h.nodes)
		if method == "round_robin" {
			peers[0].MaxConns = 5
		}
		o := siteOptions{server: asksForCounts, method: method, workers: 2, noCells: true}
		s := newSite(t, peers, o)
		peers[1].Down = true
		s.put(peers)
		for i := range 5 {
			h.start(s, "/hold")
			h.await(i + 1)
		}
		if kinds, _ := s.get("/kinds"); kinds != "strings" {
			t.Errorf("counts are kept in %q", kinds)
		}
		o.noCells, peers[1].Down = false, false
		s.put(peers)
		if err := os.WriteFile(s.nginx.Conf, []byte(s.conf(o)), 0o644); err != nil {
			t.Fatal(err)
		}
		s.reload()
		for i := range 5 {
			h.start(s, "/hold")
			h.await(5 + i + 1)
		}
		if kinds, _ := s.get("/kinds"); kinds != "cellsstrings" {
			t.Errorf("%s: counts are kept in %q", method, kinds)
		}
		s.busyIs(map[int]int{0: 5, 1: 5})
		h.release()
		s.idle()
		if log := s.log(); strings.Contains(log, "bazbeans: ") {
			t.Errorf("a fault was logged:\n%s", log)
		}
	}
}
