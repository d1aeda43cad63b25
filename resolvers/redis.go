package resolvers

import (
	"context"
	"fmt"

	"github.com/bazbeans/bazbeans/pool"
)

// Redis resolves nodes by what they registered themselves: an agent of ours in the node's hash, which the snapshot has
// read already; a Python agent in bazbeans:node_ips, one round trip for all of them. A node without an entry is not
// its own.
type Redis struct{ ips ipSource }

// ipSource is the part of *pool.Pool that Redis needs.
type ipSource interface {
	NodeIPs(ctx context.Context, ids []string) (map[string]string, error)
}

// NewRedis returns the resolver over a pool, which stays the caller's.
func NewRedis(p ipSource) *Redis { return &Redis{ips: p} }

// Resolve implements Resolver.
func (r *Redis) Resolve(ctx context.Context, nodes []pool.Node) (Answers, error) {
	answers := make(Answers, len(nodes))
	var python []string
	for i := range nodes {
		switch n := &nodes[i]; {
		case n.Address.IsValid():
			answers[n.ID] = Answer{Endpoint: Endpoint{Addr: n.Address}}
		case n.Agent == "":
			python = append(python, n.ID)
		}
	}
	ips, err := r.lookUp(ctx, python)
	for id, text := range ips {
		addr, err := pool.ParseAddress(text)
		if err != nil {
			answers[id] = Answer{Err: &RefusedError{Why: "bazbeans:node_ips: " + err.Error()}}
			continue
		}
		answers[id] = Answer{Endpoint: Endpoint{Addr: addr}}
	}
	return answers, err
}

// lookUp is NodeIPs that hears a cancelled ctx: go-redis, while it reads, hears only a deadline, and ends by it.
func (r *Redis) lookUp(ctx context.Context, ids []string) (map[string]string, error) {
	type looked struct {
		ips map[string]string
		err error
	}
	done := make(chan looked, 1)
	go func() {
		ips, err := r.ips.NodeIPs(ctx, ids)
		done <- looked{ips, err}
	}()
	select {
	case got := <-done:
		return got.ips, got.err
	case <-ctx.Done():
		return nil, fmt.Errorf("redis did not answer: %w", ctx.Err())
	}
}
