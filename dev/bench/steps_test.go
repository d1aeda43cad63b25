package main

import (
	"maps"
	"math"
	"testing"

	"github.com/bazbeans/bazbeans/step"
)

func TestSteps(t *testing.T) {
	text := `# HELP lbd_step_seconds How long each step took.
lbd_step_seconds_bucket{step="test",le="0.01"} 1
lbd_step_seconds_bucket{step="test",le="+Inf"} 2
lbd_step_seconds_sum{step="test"} 0.025
lbd_step_seconds_count{step="test"} 2
lbd_step_seconds_sum{step="verify"} 1e-01
lbd_step_seconds_count{step="verify"} 1
lbd_step_seconds_sum{step="odd"} none
lbd_rev 1.7e+12
`
	steps := parseSteps([]byte(text))
	if want := (stepTimes{step.Test: {0.025, 2}, step.Verify: {0.1, 1}}); !maps.Equal(steps, want) {
		t.Errorf("steps %v, want %v", steps, want)
	}

	// Of two turns, each from 2 runs on: 1 more in 5 ms, then 3 more in 15 ms.
	sum := stepTimes{}
	for _, more := range []float64{1, 3} {
		after := maps.Clone(steps)
		after["test"] = stepTime{0.025 + 0.005*more, 2 + more}
		sum.since(steps, after)
	}
	means := sum.means()
	if len(means) != 1 || means[0].Step != step.Test || means[0].Count != 4 || math.Abs(means[0].Mean-5) > 1e-9 {
		t.Errorf("means %+v, want 4 tests of 5 ms", means)
	}
}
