package main

import (
	"context"
	"io"
	"time"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/lbd"
	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/resolvers"
)

var inventory = map[string]string{"web1": "10.0.1.10", "web2": "10.0.1.11:8100"}

func lookUp(_ context.Context, id string) (resolvers.Endpoint, error) {
	if address, ok := inventory[id]; ok {
		return resolvers.ParseEndpoint(address)
	}
	return resolvers.Endpoint{}, resolvers.ErrNotMine // any other error: cannot know
}

func newCMDB(lbd.Settings, *pool.Pool) (resolvers.Resolver, error) {
	return resolvers.Each(lookUp, resolvers.CacheOptions{TTL: time.Minute})
}

func main() {
	cli.Main(func(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
		return lbd.Main(ctx, args, in, out, errs, lbd.Kind{Name: "cmdb", Make: newCMDB})
	})
}
