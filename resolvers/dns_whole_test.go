package resolvers

import (
	"context"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/bazbeans/bazbeans/pool"
)

// The whole resolver over a server that stalls and dies: nobody waits, and what was known stays.
func TestDNSWhenTheServerDies(t *testing.T) {
	s := NewNameServer(t)
	s.Says("a.example.", "60 A 10.0.0.1")
	d, err := NewDNS(DNSOptions{Suffix: "example", Servers: []string{s.Addr}, Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	finally(t, d.Cache, "a", is("10.0.0.1"))
	s.Does(func(dns.ResponseWriter, *dns.Msg) bool { return true })
	want(t, d.Cache, "a", "10.0.0.1", prompt)
	dead := s.Addr + ": no answer within 200ms"
	finally(t, d.Cache, "b", is(dead))
	expire(d.Cache, "a")
	finally(t, d.Cache, "a", is("10.0.0.1, "+dead))
	s.Does(nil)
	s.Says("a.example.", "60 A 10.0.0.2")
	finally(t, d.Cache, "a", is("10.0.0.2"))
}

func TestDNSThousandsOfNodes(t *testing.T) {
	const many = 2000
	s := NewNameServer(t)
	s.Delay = 50 * time.Millisecond
	for _, id := range ids(many) {
		s.Says(id+".example.", "300 A 10.0.0.1")
	}
	d, err := NewDNS(DNSOptions{Suffix: "example", Servers: []string{s.Addr}, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	all := nodes(ids(many)...)
	LearnAll(t, d.Cache, all)
	before := s.Asked("")
	if before < many || before >= 2*many { // a few are lost and repeated on a busy machine
		t.Errorf("%d queries for %d nodes", before, many)
	}
	for range 20 {
		if got, err := d.Resolve(t.Context(), all); err != nil || len(got) != many {
			t.Fatalf("%d answers, %v", len(got), err)
		}
	}
	if n := s.Asked("") - before; n > many/10 {
		t.Errorf("%d queries within the TTL", n)
	}
}

// LearnAll resolves until there is an address for each node.
// Exported for the benchmarks in package resolvers_test.
func LearnAll(t testing.TB, c *Cache, all []pool.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		got, err := c.Resolve(ctx, all)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, a := range got {
			if a.Err == nil {
				found++
			}
		}
		if found == len(all) {
			return
		}
		select {
		case <-c.Changed():
		case <-ctx.Done():
			t.Fatalf("only %d of %d nodes have an address", found, len(all))
		}
	}
}
