package main

import (
	"context"
	"fmt"
	"io"
	"slices"
)

// throughput is how many requests a second an Nginx with the lua engine answers, beside one with the same peers in its
// configuration and the same modules, and one with the least Lua code: each round is a run of each.
type throughput struct {
	Answer string  `json:"answer"` // what the nodes answer with
	Fixed  []burst `json:"static"`
	Bare   []burst `json:"bare_lua"`
	Live   []burst `json:"lua"`

	// Over static, the median of the rounds.
	Rate     ratio `json:"rate_ratio"`
	CPU      ratio `json:"cpu_ratio"`
	BareRate ratio `json:"bare_rate_ratio"`
	BareCPU  ratio `json:"bare_cpu_ratio"`
}

// answers are what it is measured with: a page, and next to nothing, where the choice of the node is much of all there is
// to do.
var answers = []struct{ is, path string }{{"16 KiB", pagePath}, {"3 bytes", "/"}}

func measureThroughput(ctx context.Context, s *site, o options, log io.Writer) ([]*throughput, error) {
	c, err := startCrowd(ctx, s, o.Nodes)
	if err != nil {
		return nil, err
	}
	web := webOptions{lua: true, spread: true}
	fixed, err := c.fixed(ctx, s, "throughput-static", usual, web)
	if err != nil {
		return nil, err
	}
	bare, err := c.bare(ctx, s, "throughput-bare", usual, web)
	if err != nil {
		return nil, err
	}
	live, _, err := c.live(ctx, s, "throughput-lua", usual, byLua, web, o.lbd)
	if err != nil {
		return nil, err
	}
	var list []*throughput
	for _, a := range answers {
		runs, err := inTurn(ctx, []front{fixed, bare, live}, a.path, o.Pairs, o, log, partThroughput)
		if err != nil {
			return nil, err
		}
		t := &throughput{Answer: a.is, Fixed: runs[0], Bare: runs[1], Live: runs[2]}
		t.Rate, t.CPU = t.over(t.Live)
		t.BareRate, t.BareCPU = t.over(t.Bare)
		list = append(list, t)
	}
	return list, nil
}

// over compares runs with those of the static upstream.
func (t *throughput) over(runs []burst) (rate, cpu ratio) {
	return ratioOfPairs(rates(runs), rates(t.Fixed)), ratioOfPairs(costs(runs), costs(t.Fixed))
}

// inTurn runs wrk so many rounds against each front, each round in the other order. A first run of each, to warm up, does
// not count.
func inTurn(ctx context.Context, fronts []front, path string, rounds int, o options, log io.Writer, part string) ([][]burst, error) {
	order := make([]int, len(fronts))
	for i := range order {
		order[i] = i
	}
	runs := make([][]burst, len(fronts))
	for n := range rounds + 1 {
		for _, i := range order {
			b, err := blast(ctx, fronts[i], path, o)
			if err != nil {
				return nil, err
			}
			if n > 0 {
				runs[i] = append(runs[i], b)
			}
		}
		slices.Reverse(order)
		if n > 0 {
			fmt.Fprintf(log, "%s: round %d of %d:", part, n, rounds)
			for _, r := range runs {
				fmt.Fprintf(log, " %.0f/s %.1f µs", r[n-1].Rate, r[n-1].CPU)
			}
			fmt.Fprintln(log)
		}
	}
	return runs, nil
}

func rates(runs []burst) []float64 { return valuesOf(runs, func(b burst) float64 { return b.Rate }) }
func costs(runs []burst) []float64 { return valuesOf(runs, func(b burst) float64 { return b.CPU }) }

func valuesOf[T any](list []T, of func(T) float64) []float64 {
	values := make([]float64, len(list))
	for i, v := range list {
		values[i] = of(v)
	}
	return values
}
