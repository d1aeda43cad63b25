package main

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSpread(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[(i*37)%100] = float64(i + 1)
	}
	for _, c := range []struct {
		values []float64
		want   spread
	}{
		{nil, spread{}},
		{[]float64{7}, spread{7, 7, 7, 7}},
		{[]float64{3, 1, 2}, spread{2, 3, 3, 3}},
		{[]float64{4, 3, 1, 2}, spread{2, 4, 4, 4}},
		{hundred, spread{50, 95, 99, 100}},
	} {
		if got := spreadOf(c.values); got != c.want {
			t.Errorf("%v: %v, want %v", c.values, got, c.want)
		}
	}
}

func TestRatio(t *testing.T) {
	if got := ratioOf(nil, []float64{1}, 0.5); got != (ratio{}) {
		t.Errorf("of nothing: %v", got)
	}
	if got := ratioOf([]float64{3, 3, 3}, []float64{2, 2}, 0.5); got != (ratio{1.5, 1.5, 1.5}) {
		t.Errorf("without noise: %v, want 1.5 and no width", got)
	}
	if got := ratioOf([]float64{3}, []float64{0}, 0.5); got != (ratio{}) {
		t.Errorf("against nothing: %v", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(1, 1000), 1, 60)
		a, b, q := values.Draw(t, "a"), values.Draw(t, "b"), rapid.Float64Range(0, 1).Draw(t, "q")
		r := ratioOf(a, b, q)
		if r != ratioOf(a, b, q) {
			t.Fatal("a second time it is another one")
		}
		if r.Low > r.High || r.Low <= 0 {
			t.Fatalf("bounds %v to %v", r.Low, r.High)
		}
		double := make([]float64, len(a))
		for i, v := range a {
			double[i] = 2 * v
		}
		if d := ratioOf(double, b, q); d.Value != 2*r.Value || d.Low != 2*r.Low || d.High != 2*r.High {
			t.Fatalf("twice the times: %v, want twice %v", d, r)
		}
	})
}

func TestRatioOfPairs(t *testing.T) {
	// A machine that becomes slower from pair to pair: each pair says 1.1.
	if got := ratioOfPairs([]float64{110, 55, 11}, []float64{100, 50, 10}); got.Value < 1.0999 || got.High-got.Low > 1e-9 || got.High > 1.1001 {
		t.Errorf("%+v, want 1.1 without noise", got)
	}
	if got := ratioOfPairs(nil, nil); got != (ratio{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestUnits(t *testing.T) {
	if got := ms(1234567 * time.Nanosecond); got != 1.235 {
		t.Errorf("%v ms", got)
	}
	if got := percent(123456*time.Microsecond, time.Second); got != 12.35 {
		t.Errorf("%v %%", got)
	}
	if got := percent(time.Second, 0); got != 0 {
		t.Errorf("%v %% of no time", got)
	}
}
