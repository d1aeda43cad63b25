package main

import (
	"testing"

	"github.com/bazbeans/bazbeans/dev/load"
)

// wellDone are results that keep every bound.
func wellDone() *results {
	live := func(name string, p50 float64) *outcome {
		return &outcome{Name: name, Drain: spread{P50: p50, P95: p50, P99: p50, Max: p50}, Requests: requests{Get: load.Outcome{Sent: 9, OK: 9}}}
	}
	return &results{
		Contenders: []*outcome{
			{Name: laneFloor, Requests: requests{ByReason: map[string]int64{"closed": 10}}},
			{Name: laneLBD, Requests: requests{ByReason: map[string]int64{"closed": 12}}, Replaced: 2},
			live(laneLua, 2), live(laneResolve, 300), live(laneHAProxy, 1),
		},
		Against: []*comparison{{Name: laneLBD, DrainP50: ratio{Value: 1.04}, DrainP95: ratio{Value: 1.2}}},
		Parts: parts{
			Throughput: []*throughput{{Answer: "16 KiB", Rate: ratio{Value: 0.99}}, {Answer: "3 bytes", Rate: ratio{Value: 0.98}}},
			Peers:      []*peerCost{{Balance: "least_conn", Engine: "static", CPU: ratio{Value: 3}}, {Balance: "least_conn", Engine: laneLua, CPU: ratio{Value: 1.02}}},
			Updates:    &updates{Large: spread{P95: 2}, Pushes: 100000, Growth: 0.1},
		},
	}
}

func TestEveryVerdictCanFail(t *testing.T) {
	good := wellDone().judge()
	for _, v := range good {
		if !v.Met {
			t.Errorf("%+v of good figures", v)
		}
	}
	spoils := map[string]func(*results){
		"lbd: drain p50 / floor's":                            func(r *results) { r.Against[0].DrainP50.Value = 1.11 },
		"lbd: drain p95 / floor's":                            func(r *results) { r.Against[0].DrainP95.Value = 1.31 },
		"lbd: failed GETs":                                    func(r *results) { r.Contenders[1].Requests.Get.Failed = 1 },
		"lbd: requests cut off, the floor's and chance":       func(r *results) { r.Contenders[1].Requests.Get.Repeated = 20 },
		"lua: drain p50, ms":                                  func(r *results) { r.Contenders[2].Drain.P50 = 3.1 },
		"lua: drain p99, ms":                                  func(r *results) { r.Contenders[2].Drain.P99 = 10.1 },
		"lua: failed requests":                                func(r *results) { r.Contenders[2].Requests.Post.Failed = 1 },
		"lua: failed cycles":                                  func(r *results) { r.Contenders[2].Errors = []string{"node n1 got none"} },
		"lua: connections closed":                             func(r *results) { r.Contenders[2].Requests.Closed = 1 },
		"lua: workers replaced":                               func(r *results) { r.Contenders[2].Replaced = 1 },
		"resolve: drain p50, ms":                              func(r *results) { r.Contenders[3].Drain.P50 = 701 },
		"resolve: drain max, ms":                              func(r *results) { r.Contenders[3].Drain.Max = 2501 },
		"resolve: failed requests":                            func(r *results) { r.Contenders[3].Requests.Get.Failed = 1 },
		"resolve: failed cycles":                              func(r *results) { r.Contenders[3].Errors = []string{"node n1 got none"} },
		"resolve: connections closed":                         func(r *results) { r.Contenders[3].Requests.Closed = 1 },
		"resolve: workers replaced":                           func(r *results) { r.Contenders[3].Replaced = 1 },
		"throughput: lua / static upstream, 16 KiB":           func(r *results) { r.Parts.Throughput[0].Rate.Value = 0.96 },
		"throughput: lua / static upstream, 3 bytes":          func(r *results) { r.Parts.Throughput[1].Rate.Value = 0.96 },
		"peers: cost of a request, 1000 / 10, lua least_conn": func(r *results) { r.Parts.Peers[1].CPU.Value = 1.11 },
		"updates: update of 1000 peers p95, ms":               func(r *results) { r.Parts.Updates.Large.P95 = 5.1 },
		"updates: growth over 100000 updates, MiB":            func(r *results) { r.Parts.Updates.Growth = 1.1 },
		"updates: failed requests":                            func(r *results) { r.Parts.Updates.Failed = 1 },
		"updates: workers replaced":                           func(r *results) { r.Parts.Updates.Workers = 1 },
	}
	if len(good) != len(spoils) {
		t.Errorf("%d verdicts and %d ways to fail", len(good), len(spoils))
	}
	for name, spoil := range spoils {
		r := wellDone()
		spoil(r)
		var failed []string
		for _, v := range r.judge() {
			if !v.Met {
				failed = append(failed, v.Of+": "+v.What)
			}
		}
		if len(failed) != 1 || failed[0] != name {
			t.Errorf("not met: %q, want %q alone", failed, name)
		}
	}
	if got := (&results{}).judge(); len(got) != 0 {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestVerdictInWords(t *testing.T) {
	for _, c := range []struct {
		v           verdict
		limit, word string
	}{
		{atMost("lua", "drain", 3, 3), "≤ 3", "met"},
		{atMost("lua", "drain", 3.01, 3), "≤ 3", "NOT met"},
		{atLeast("throughput", "ratio", 0.97, 0.97), "≥ 0.97", "met"},
		{atLeast("throughput", "ratio", 0.969, 0.97), "≥ 0.97", "NOT met"},
	} {
		if c.v.limit() != c.limit || c.v.word() != c.word {
			t.Errorf("%+v: %s, %s", c.v, c.v.limit(), c.v.word())
		}
	}
}
