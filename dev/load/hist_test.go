package load_test

import (
	"encoding/json"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bazbeans/bazbeans/dev/load"
)

func TestQuantileIsWithinItsBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h load.Histogram
		all := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) int64 {
			return rapid.Int64Range(0, 1<<rapid.IntRange(1, 62).Draw(t, "bits")).Draw(t, "ns")
		}), 1, 100).Draw(t, "durations")
		for _, d := range all {
			h.Record(time.Duration(d))
		}
		slices.Sort(all)
		for _, q := range []float64{0, 0.5, 0.95, 0.99, 1} {
			exact := all[max(int(math.Ceil(q*float64(len(all))))-1, 0)]
			if got := int64(h.Quantile(q)); got < exact || got-exact > exact/128 {
				t.Fatalf("quantile %v is %d, exact %d", q, got, exact)
			}
		}
		if h.Max() != time.Duration(all[len(all)-1]) || h.Count() != int64(len(all)) {
			t.Fatalf("max %v of %d, want %v of %d", h.Max(), h.Count(), all[len(all)-1], len(all))
		}
	})
}

func TestHistogramAsJSON(t *testing.T) {
	var h load.Histogram
	for got, want := range map[*load.Histogram]string{
		{}: `{"count":0,"p50_ms":0,"p95_ms":0,"p99_ms":0,"max_ms":0}`,
		&h: `{"count":2,"p50_ms":0,"p95_ms":1.5,"p99_ms":1.5,"max_ms":1.5}`,
	} {
		if got == &h {
			h.Record(-time.Second)
			h.Record(1500 * time.Microsecond)
		}
		if text, err := json.Marshal(*got); err != nil || string(text) != want {
			t.Errorf("%s %v, want %s", text, err, want)
		}
	}
}
