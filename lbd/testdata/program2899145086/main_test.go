package main

import (
	"net/netip"
	"testing"

	"github.com/bazbeans/bazbeans/lbd"
	"github.com/bazbeans/bazbeans/resolvers"
	"github.com/bazbeans/bazbeans/resolvers/resolvertest"
)

func TestConformance(t *testing.T) {
	resolvertest.Run(t, resolvertest.Case{
		New: func(t testing.TB) resolvers.Resolver {
			r, err := newCMDB(lbd.Settings{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			return r
		},
		Known:   map[string]resolvers.Endpoint{"web1": {Addr: netip.MustParseAddr("10.0.1.10")}},
		NotMine: []string{"stranger"},
	})
}
