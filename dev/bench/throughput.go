package main

import (
	"context"
	"fmt"
	"io"
	"slices"
)

// throughput is how many requests a second an Nginx with the lua engine answers, beside one with the same peers in its
// configuration and the same modules, in pairs of runs.
type throughput struct {
	Answer string  `json:"answer"` // what the nodes answer with
	Fixed  []burst `json:"static"`
	Live   []burst `json:"lua"`
	Rate   ratio   `json:"rate_ratio"` // live over static, the median of the pairs
	CPU    ratio   `json:"cpu_ratio"`
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
	live, _, err := c.live(ctx, s, "throughput-lua", usual, byLua, web, o.lbd)
	if err != nil {
		return nil, err
	}
	var list []*throughput
	for _, a := range answers {
		runs, err := inTurn(ctx, []front{fixed, live}, a.path, o.Pairs, o, log, partThroughput)
		if err != nil {
			return nil, err
		}
		t := &throughput{Answer: a.is, Fixed: runs[0], Live: runs[1]}
		t.Rate = ratioOfPairs(rates(t.Live), rates(t.Fixed))
		t.CPU = ratioOfPairs(costs(t.Live), costs(t.Fixed))
		list = append(list, t)
	}
	return list, nil
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
