package names_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// BenchmarkDrain takes a node out under traffic, at any moment of Nginx's second: how long until the last request that
// went to it began, and until nothing was pending. Run it with -benchtime 50x.
func BenchmarkDrain(b *testing.B) {
	all := backends(b, 3)
	s := newSite(b, "keepalive 8;", peers(all...)...)
	s.settle()
	end := s.traffic(1000, 0.2)
	var last, settled []float64
	for b.Loop() {
		time.Sleep(time.Duration(rand.Int64N(int64(time.Second))))
		begin := time.Now()
		s.set(peers(all[0], all[1])...)
		s.settle()
		settled = append(settled, time.Since(begin).Seconds()*1000)
		late := time.Duration(0)
		if at, ok := all[2].LastStart(begin); ok {
			late = at.Sub(begin)
		}
		last = append(last, late.Seconds()*1000)
		s.set(peers(all...)...)
		s.settle()
	}
	end()
	b.ReportMetric(0, "ns/op")
	report := func(ms []float64, unit string) {
		slices.Sort(ms)
		b.ReportMetric(ms[len(ms)/2], unit+"-p50-ms")
		b.ReportMetric(ms[len(ms)-1], unit+"-max-ms")
	}
	report(last, "drain")
	report(settled, "known")
}
