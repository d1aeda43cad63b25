package main

import (
	"fmt"
	"math"
)

// verdict is a bound that the project has set itself, and whether this run keeps it.
type verdict struct {
	Of     string  `json:"of"`   // contender or part
	What   string  `json:"what"` // with its unit
	Figure float64 `json:"figure"`
	Bound  float64 `json:"bound"`
	Least  bool    `json:"at_least,omitempty"` // the bound is a lower one
	Met    bool    `json:"met"`
}

func atMost(of, what string, figure, bound float64) verdict {
	return verdict{Of: of, What: what, Figure: figure, Bound: bound, Met: figure <= bound}
}

func atLeast(of, what string, figure, bound float64) verdict {
	return verdict{Of: of, What: what, Figure: figure, Bound: bound, Least: true, Met: figure >= bound}
}

// judge holds what was measured against the bounds. What was not measured has no verdict.
func (res *results) judge() []verdict {
	var list []verdict
	add := func(v ...verdict) { list = append(list, v...) }
	floor, reload := res.of(laneFloor), res.of(laneLBD)
	if floor != nil && reload != nil {
		add(judgeReload(res.against(laneLBD), reload, floor)...)
	}
	if out := res.of(laneLua); out != nil {
		add(atMost(laneLua, "drain p50, ms", out.Drain.P50, 3), atMost(laneLua, "drain p99, ms", out.Drain.P99, 10))
		add(judgeLive(out)...)
	}
	if out := res.of(laneResolve); out != nil {
		add(atMost(laneResolve, "drain p50, ms", out.Drain.P50, 700), atMost(laneResolve, "drain max, ms", out.Drain.Max, 2500))
		add(judgeLive(out)...)
	}
	for _, t := range res.Parts.Throughput {
		add(atLeast(partThroughput, "lua / static upstream, "+t.Answer, t.Rate.Value, 0.97))
	}
	for _, p := range res.Parts.Peers {
		if p.Engine == laneLua {
			add(atMost(partPeers, fmt.Sprintf("cost of a request, %d / %d, lua %s", manyPeers, fewPeers, p.Balance), p.CPU.Value, 1.1))
		}
	}
	if u := res.Parts.Updates; u != nil {
		add(atMost(partUpdates, fmt.Sprintf("update of %d peers p95, ms", manyPeers), u.Large.P95, 5),
			atMost(partUpdates, fmt.Sprintf("growth over %d updates, MiB", u.Pushes), u.Growth, 1),
			atMost(partUpdates, "failed requests", float64(u.Failed), 0),
			atMost(partUpdates, "workers replaced", float64(u.Workers), 0))
	}
	return list
}

// judgeReload compares the two that reload. A reload of an old Nginx cuts off some requests, whoever asks for it, and
// chance decides how many: lbd may have more than the floor as far as chance goes (three standard deviations of the
// difference of two counts).
func judgeReload(c *comparison, reload, floor *outcome) []verdict {
	a, b := reload.cutOff(), floor.cutOff()
	chance := 3 * math.Sqrt(float64(a+b))
	return []verdict{
		atMost(laneLBD, "drain p50 / floor's", c.DrainP50.Value, 1.1),
		atMost(laneLBD, "drain p95 / floor's", c.DrainP95.Value, 1.3),
		atMost(laneLBD, "failed GETs", float64(reload.Requests.Get.Failed), 0),
		atMost(laneLBD, "requests cut off, the floor's and chance", float64(a), math.Ceil(float64(b)+chance)),
	}
}

// judgeLive is what holds for every engine that does not reload.
func judgeLive(out *outcome) []verdict {
	r := out.Requests
	return []verdict{
		atMost(out.Name, "failed requests", float64(r.Get.Failed+r.Post.Failed), 0),
		atMost(out.Name, "failed cycles", float64(len(out.Errors)), 0),
		atMost(out.Name, "connections closed", float64(r.Closed), 0),
		atMost(out.Name, "workers replaced", float64(out.Replaced), 0),
	}
}

// word is the judgement.
func (v verdict) word() string {
	if v.Met {
		return "met"
	}
	return "NOT met"
}

// limit is the bound with its sign.
func (v verdict) limit() string {
	sign := "≤"
	if v.Least {
		sign = "≥"
	}
	return fmt.Sprintf("%s %.4g", sign, v.Bound)
}
