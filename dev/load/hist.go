package load

import (
	"encoding/json"
	"math"
	"math/bits"
	"time"
)

// Histogram counts durations in buckets that grow with their size: 128 to each
// doubling. So a quantile is at most 1/128 (0.8 %) above the true one, and
// never below it; count and maximum are exact. The zero value is empty and
// ready. It is not safe for concurrent use.
type Histogram struct {
	buckets []int64
	count   int64
	max     time.Duration
}

const subBuckets = 128

// bucket numbers the values 0, 1, … 255 ns by themselves, then 128 buckets for
// 256 to 511 ns, 128 for 512 to 1023 ns, and so on.
func bucket(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - bits.Len(subBuckets)
	return shift*subBuckets + int(v>>shift)
}

// bucketMax is the largest value of a bucket.
func bucketMax(i int) uint64 {
	if i < 2*subBuckets {
		return uint64(i)
	}
	shift := i/subBuckets - 1
	return uint64(i%subBuckets+subBuckets+1)<<shift - 1
}

// Record adds one duration; a negative one counts as 0.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	i := bucket(uint64(d))
	if i >= len(h.buckets) {
		h.buckets = append(h.buckets, make([]int64, i+1-len(h.buckets))...)
	}
	h.buckets[i]++
	h.count++
	h.max = max(h.max, d)
}

// Count is the number of durations recorded.
func (h *Histogram) Count() int64 { return h.count }

// Max is the longest duration recorded, 0 for an empty histogram.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile returns the duration that the fraction q (0 to 1) of all recorded
// ones did not exceed (nearest rank), 0 for an empty histogram.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := max(int64(math.Ceil(q*float64(h.count))), 1)
	var seen int64
	for i, n := range h.buckets {
		if seen += n; seen >= rank {
			return min(time.Duration(bucketMax(i)), h.max)
		}
	}
	return h.max
}

// MarshalJSON writes count, p50, p95, p99 and maximum, in milliseconds.
func (h Histogram) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Count int64   `json:"count"`
		P50   float64 `json:"p50_ms"`
		P95   float64 `json:"p95_ms"`
		P99   float64 `json:"p99_ms"`
		Max   float64 `json:"max_ms"`
	}{h.count, milliseconds(h.Quantile(0.50)), milliseconds(h.Quantile(0.95)), milliseconds(h.Quantile(0.99)), milliseconds(h.max)})
}

func (h *Histogram) clone() Histogram {
	c := *h
	c.buckets = append([]int64(nil), h.buckets...)
	return c
}

// milliseconds keeps three digits after the point: whole microseconds.
func milliseconds(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Microsecond)) / 1000
}
