package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// spread is the quantiles of some durations, in milliseconds.
type spread struct {
	P50 float64 `json:"p50_ms"`
	P95 float64 `json:"p95_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

func spreadOf(values []float64) spread {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return spread{}
	}
	return spread{P50: quantile(sorted, 0.50), P95: quantile(sorted, 0.95), P99: quantile(sorted, 0.99), Max: sorted[len(sorted)-1]}
}

// quantile is the nearest rank of sorted values, of which there is at least one.
func quantile(sorted []float64, q float64) float64 {
	return sorted[max(int(math.Ceil(q*float64(len(sorted)))), 1)-1]
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	return quantile(slices.Sorted(slices.Values(values)), 0.5)
}

// ratio compares a quantile of a contender with the same of the floor.
type ratio struct {
	Value float64 `json:"ratio"`
	// Low and High hold nine of ten ratios that one would find in other runs like this one, as far as this one can
	// tell (bootstrap): how far the machine's noise reaches.
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

const resamples = 2000

// ratioOf is the q-quantile of a over that of b, 0 where that one is 0. The same values give the same ratio and bounds.
func ratioOf(a, b []float64, q float64) ratio {
	if len(a) == 0 || len(b) == 0 {
		return ratio{}
	}
	of := func(a, b []float64) float64 {
		base := quantile(slices.Sorted(slices.Values(b)), q)
		if base == 0 {
			return 0 // JSON has no infinity
		}
		return quantile(slices.Sorted(slices.Values(a)), q) / base
	}
	random := rand.New(rand.NewPCG(1, 2))
	draw := func(values []float64) []float64 {
		drawn := make([]float64, len(values))
		for i := range drawn {
			drawn[i] = values[random.IntN(len(values))]
		}
		return drawn
	}
	found := make([]float64, resamples)
	for i := range found {
		found[i] = of(draw(a), draw(b))
	}
	slices.Sort(found)
	return ratio{Value: of(a, b), Low: quantile(found, 0.05), High: quantile(found, 0.95)}
}

// ratioOfPairs is the median of a[i] / b[i], with bounds as those of ratioOf. The values come in pairs that were measured
// one right after the other.
func ratioOfPairs(a, b []float64) ratio {
	quotients := make([]float64, min(len(a), len(b)))
	ones := make([]float64, len(quotients))
	for i := range quotients {
		ones[i] = 1
		if b[i] != 0 {
			quotients[i] = a[i] / b[i]
		}
	}
	return ratioOf(quotients, ones, 0.5)
}

// ms is d in milliseconds, rounded to microseconds.
func ms(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Microsecond)) / 1000
}

// percent is the share of one processor, 100 for all of it.
func percent(cpu, of time.Duration) float64 {
	if of <= 0 {
		return 0
	}
	return math.Round(10000*float64(cpu)/float64(of)) / 100
}
