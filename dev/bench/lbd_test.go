package main

import (
	"maps"
	"slices"
	"testing"
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
	if got := slices.Sorted(maps.Keys(steps)); !slices.Equal(got, []string{"test", "verify"}) {
		t.Errorf("steps %v", got)
	}
	if s := steps["test"]; s.seconds != 0.025 || s.count != 2 {
		t.Errorf("test: %+v", s)
	}

	// Of two turns, each from 2 runs on: 1 more in 5 ms, then 3 more in 15 ms.
	out := outcome{steps: stepTimes{}}
	for _, more := range []float64{1, 3} {
		after := maps.Clone(steps)
		s := after["test"]
		s.seconds, s.count = s.seconds+0.005*more, s.count+more
		after["test"] = s
		out.stepped(steps, after)
	}
	out.summarize()
	if len(out.Steps) != 1 || out.Steps[0].Step != "test" || out.Steps[0].Count != 4 || ms2(out.Steps[0].Mean) != 5 {
		t.Errorf("means %+v, want 4 tests of 5 ms", out.Steps)
	}
}

// ms2 cuts what floating point adds.
func ms2(v float64) float64 { return float64(int(v*100+0.5)) / 100 }
