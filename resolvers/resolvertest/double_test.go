package resolvertest

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/resolvers"
)

func at(addr string) resolvers.Endpoint { return resolvers.Endpoint{Addr: netip.MustParseAddr(addr)} }

// source is what the resolvers of this file know.
func source() resolvers.Answers {
	return resolvers.Answers{
		"a":     {Endpoint: at("10.0.0.1")},
		"b":     {Endpoint: resolvers.Endpoint{Addr: netip.MustParseAddr("fd00::1"), Port: 81, Weight: 5}},
		"down":  {Err: errors.New("time-out")},
		"local": {Endpoint: at("127.0.0.1")},
		"odd":   {Err: &resolvers.RefusedError{Why: "unix socket"}},
	}
}

// good keeps every rule. Its parts are replaced to break one.
type good struct {
	resolve func(ctx context.Context, nodes []pool.Node) (resolvers.Answers, error)
	changed func() <-chan struct{}
	close   func() error
}

func (g *good) Resolve(ctx context.Context, nodes []pool.Node) (resolvers.Answers, error) {
	return g.resolve(ctx, nodes)
}
func (g *good) Changed() <-chan struct{} { return g.changed() }
func (g *good) Close() error             { return g.close() }

// newGood returns a resolver over a source, and a function that changes the source and tells of it.
func newGood() (g *good, change func(tell bool) map[string]resolvers.Endpoint) {
	var mu sync.Mutex
	from := source()
	news := make(chan struct{}, 1)
	g = &good{changed: func() <-chan struct{} { return news }, close: func() error { return nil }}
	g.resolve = func(ctx context.Context, nodes []pool.Node) (resolvers.Answers, error) {
		mu.Lock()
		defer mu.Unlock()
		answers := resolvers.Answers{}
		for _, n := range nodes {
			if a, ok := from[n.ID]; ok {
				answers[n.ID] = a
			}
		}
		return answers, ctx.Err()
	}
	return g, func(tell bool) map[string]resolvers.Endpoint {
		mu.Lock()
		defer mu.Unlock()
		from["a"] = resolvers.Answer{Endpoint: at("10.0.0.99")}
		if tell {
			news <- struct{}{}
		}
		return map[string]resolvers.Endpoint{"a": at("10.0.0.99")}
	}
}

// hanging waits for the end of its ctx.
func hanging(ctx context.Context, _ []pool.Node) (resolvers.Answers, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// caseOf is the case of good, with a resolver that breakIt has broken, each one made anew. When its source hangs, too.
func caseOf(breakIt func(t testing.TB, g *good)) Case {
	var change func(bool) map[string]resolvers.Endpoint
	made := func(hangs bool) func(t testing.TB) resolvers.Resolver {
		return func(t testing.TB) resolvers.Resolver {
			var g *good
			g, change = newGood()
			if hangs {
				g.resolve = hanging
			}
			breakIt(t, g)
			return g
		}
	}
	return Case{
		New: made(false), Hang: made(true), Shared: true, Within: 300 * time.Millisecond,
		Known: map[string]resolvers.Endpoint{"a": source()["a"].Endpoint, "b": source()["b"].Endpoint}, NotMine: []string{"stranger"},
		CannotKnow: []string{"down"}, Refused: []string{"local", "odd"},
		Change: func(testing.TB) map[string]resolvers.Endpoint { return change(true) },
	}
}

// onAnswers breaks what Resolve returns.
func onAnswers(f func(*call)) func(testing.TB, *good) {
	return func(_ testing.TB, g *good) {
		right := g.resolve
		g.resolve = func(ctx context.Context, nodes []pool.Node) (resolvers.Answers, error) {
			c := &call{ctx: ctx, nodes: nodes}
			c.Answers, c.err = right(ctx, nodes)
			f(c)
			return c.Answers, c.err
		}
	}
}

// call is one call of Resolve with what it is about to return.
type call struct {
	ctx   context.Context
	nodes []pool.Node
	answer
}

// deaf does not hear the end of its ctx. It hangs until the test is over.
func deaf(t testing.TB, g *good) {
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	g.resolve = func(context.Context, []pool.Node) (resolvers.Answers, error) { <-end; return nil, nil }
}
