package plot

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func TestTicks(t *testing.T) {
	for _, c := range []struct{ got, want any }{
		{linearTicks(1100), []float64{0, 200, 400, 600, 800, 1000, 1200}},
		{linearTicks(7), []float64{0, 1, 2, 3, 4, 5, 6, 7}},
		{linearTicks(10), []float64{0, 2, 4, 6, 8, 10}},
		{linearTicks(1), []float64{0, 0.2, 0.4, 0.6, 0.8, 1}},
		{logTicks(6, 1100), []float64{5, 10, 20, 50, 100, 200, 500, 1000, 2000}},
		{logTicks(5, 5), []float64{5, 10}},
		{logTicks(1, 10), []float64{1, 2, 5, 10}},
		{logTicks(3, 5000), []float64{1, 10, 100, 1000, 10000}},
	} {
		if fmt.Sprintf("%.6v", c.got) != fmt.Sprintf("%.6v", c.want) {
			t.Errorf("ticks %v, want %v", c.got, c.want)
		}
	}
}

func TestScaleCoversItsValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.Float64Range(1e-6, 1e9).Draw(t, "a")
		b := rapid.Float64Range(1e-6, 1e9).Draw(t, "b")
		s := newScale(rapid.Bool().Draw(t, "log"), min(a, b), max(a, b), 100, 500)
		const rounding = 1e-6
		if x, y := s.x(min(a, b)), s.x(max(a, b)); x < 100-rounding || x > y || y > 600+rounding {
			t.Fatalf("%v and %v at %v and %v, want them in order within 100 to 600", a, b, x, y)
		}
		if n := len(s.ticks); n < 2 || n > 17 {
			t.Fatalf("%d ticks: %v", n, s.ticks)
		}
	})
}

func TestLabel(t *testing.T) {
	for ms, want := range map[float64]string{
		0: "0 ms", 0.05: "0.05 ms", 8.1449: "8.14 ms", 14.36: "14.4 ms", 110.4: "110 ms", 999.4: "999 ms", 1000: "1 s", 1084: "1.08 s", 123456: "123 s", 1234567: "1235 s",
	} {
		if got := label(ms); got != want {
			t.Errorf("label of %v is %q, want %q", ms, got, want)
		}
	}
}
