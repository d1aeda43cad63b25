package resolvers_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/resolvers"
)

// distant is a name server 50 ms away that knows all nodes, and a resolver that asks it.
func distant(b *testing.B, nodes []pool.Node) (*resolvers.NameServer, *resolvers.DNS) {
	b.Helper()
	s := resolvers.NewNameServer(b)
	s.Delay = 50 * time.Millisecond
	for _, n := range nodes {
		s.Says(n.ID+".example.", "300 A 10.1.0.1")
	}
	d, err := resolvers.NewDNS(resolvers.DNSOptions{Suffix: ".example", Servers: []string{s.Addr}, Timeout: 5 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	return s, d
}

// BenchmarkDNSCold is how long it takes until all addresses are known when nothing is.
func BenchmarkDNSCold(b *testing.B) {
	nodes, _ := list()
	s, unused := distant(b, nodes)
	unused.Close()
	before := s.Asked("")
	for b.Loop() {
		d, err := resolvers.NewDNS(resolvers.DNSOptions{Suffix: ".example", Servers: []string{s.Addr}, Timeout: 5 * time.Second})
		if err != nil {
			b.Fatal(err)
		}
		resolvers.LearnAll(b, d.Cache, nodes)
		d.Close()
	}
	b.ReportMetric(float64(s.Asked("")-before)/float64(b.N), "queries/op")
}

// BenchmarkDNSWarm is what a look costs while all that is known is fresh: no query. heap-B is what the resolver holds.
func BenchmarkDNSWarm(b *testing.B) {
	nodes, _ := list()
	s, d := distant(b, nodes)
	defer d.Close()
	empty := heap()
	resolvers.LearnAll(b, d.Cache, nodes)
	held := heap() - empty
	before := s.Asked("")
	benchmark(b, d, nodes)
	b.ReportMetric(float64(s.Asked("")-before), "queries")
	b.ReportMetric(float64(held), "heap-B")
}

// heap is what lives, in bytes.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkProgramBatch is one run of a program for all nodes, from its start to its last answer.
func BenchmarkProgramBatch(b *testing.B) {
	nodes, _ := list()
	path := program(b, `while read -r id; do echo "$id 10.1.0.1"; done`)
	for b.Loop() {
		c, err := resolvers.NewCallback(resolvers.CallbackOptions{Exec: []string{path}, Batch: true, Timeout: time.Minute})
		if err != nil {
			b.Fatal(err)
		}
		resolvers.LearnAll(b, c.Cache, nodes)
		c.Close()
	}
}
