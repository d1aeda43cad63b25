package resolvers_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/resolvers"
)

// The benchmarks ask about 10,000 nodes in one batch, through a chain: what each look of lbd costs.

const many = 10_000

func benchmark(b *testing.B, r resolvers.Resolver, nodes []pool.Node) {
	b.Helper()
	chain, err := resolvers.NewChain(resolvers.Door{}, resolvers.Link{Name: "it", Resolver: r})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		found, err := chain.Resolve(b.Context(), nodes)
		if err != nil || len(found) != many || !found[nodes[0].ID].Found() {
			b.Fatalf("%d resolutions, %v", len(found), err)
		}
	}
}

func list() (nodes []pool.Node, addrs map[string]string) {
	addrs = map[string]string{}
	for i := range many {
		id := fmt.Sprintf("dc1_server%05d", i)
		nodes = append(nodes, pool.Node{ID: id})
		addrs[id] = fmt.Sprintf("10.1.%d.%d", i/250, i%250+1)
	}
	return nodes, addrs
}

func BenchmarkRedis(b *testing.B) {
	p, rdb := openPool(b, serverstest.Redis(b).Addr())
	fleet(b, rdb, many)
	snap, err := p.Snapshot(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	benchmark(b, resolvers.NewRedis(p), snap.Nodes)
}

func BenchmarkStatic(b *testing.B) {
	nodes, addrs := list()
	s, err := resolvers.NewStatic(addrs)
	if err != nil {
		b.Fatal(err)
	}
	benchmark(b, s, nodes)
}

func BenchmarkStaticFile(b *testing.B) {
	nodes, s := bigFile(b)
	defer s.Close()
	benchmark(b, s, nodes)
}

func bigFile(b *testing.B) ([]pool.Node, *resolvers.StaticFile) {
	b.Helper()
	nodes, addrs := list()
	var text strings.Builder
	for _, n := range nodes {
		fmt.Fprintf(&text, "%s: %s\n", n.ID, addrs[n.ID])
	}
	path := filepath.Join(b.TempDir(), "nodes.yaml")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	old := time.Now().Add(-time.Hour) // or it is read again each time, to be sure
	if err := os.Chtimes(path, old, old); err != nil {
		b.Fatal(err)
	}
	s, err := resolvers.NewStaticFile(path)
	if err != nil {
		b.Fatal(err)
	}
	return nodes, s
}
