package lbd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/resolvers"
	"github.com/bazbeans/bazbeans/step"
)

// facts are what one look at Redis and the resolvers found.
type facts struct {
	rev     int64
	at      time.Time
	nodes   []fact
	refused []Quarantine // ids that are no ids
	trouble error        // what went wrong in resolvers; addresses that were found are good all the same
}

// fact is one node, and where it is.
type fact struct {
	pool.Node
	where resolvers.Resolution
}

// wanted reports whether the node should get traffic: it may, and its address is known.
func (f *fact) wanted() bool { return f.Wanted() && f.where.Found() && f.weight() > 0 }

// goneUnasked reports whether the node went away without anybody having wanted it: expired, cleaned up after that, its
// address gone, or taken out by a tool that says nothing of it (a Python agent). What an operator froze, and an agent
// of ours that left in order, went by somebody's will.
func (f *fact) goneUnasked() bool {
	switch f.State() {
	case pool.Active:
		return !f.where.Found()
	case pool.Dead, pool.Faulty:
		return true
	case pool.Inactive:
		return !f.Left
	}
	return false
}

func (f *fact) weight() int {
	if f.where.Weight > 0 {
		return f.where.Weight
	}
	return f.Weight
}

// lookTimeout bounds a look; a Redis that is slower than this is as good as away.
const lookTimeout = 5 * time.Second

// look reads the pool and resolves the addresses of all nodes that serve, or would but for a freeze. What goes wrong
// in a resolver is logged and is a fact of the nodes it concerns, not an error of the look.
func (l *LB) look(ctx context.Context) (*facts, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	began := time.Now()
	snap, err := l.pool.SnapshotFor(ctx, l.cfg.ID, l.familiar())
	if err != nil {
		return nil, step.Wrap(step.Snapshot, err)
	}
	l.metrics.took(step.Snapshot, time.Since(began))
	l.sight.seen(began, snap)

	f := &facts{rev: snap.Rev, at: snap.Taken}
	for _, r := range snap.Refused {
		f.refused = append(f.refused, Quarantine{ID: r.ID, Why: r.Why})
	}
	began = time.Now()
	var ask []pool.Node
	for _, n := range snap.Nodes {
		switch n.State() {
		case pool.Active, pool.Frozen, pool.Unhealthy:
			ask = append(ask, n)
		}
	}
	found, err := l.chain.Resolve(ctx, ask)
	if cut := ctx.Err(); errors.Is(cut, context.Canceled) {
		return nil, step.Wrap(step.Resolve, cut)
	}
	f.trouble = err
	l.say.change("resolvers", step.Wrap(step.Resolve, err), "a resolver cannot know: addresses last known are kept", "all resolvers answer again")
	l.metrics.took(step.Resolve, time.Since(began))
	for _, n := range snap.Nodes {
		f.nodes = append(f.nodes, fact{Node: n, where: found[n.ID]})
	}
	return f, nil
}

// familiar are the ids that a flood of others must not push out of a look: of the nodes that are served, then of those
// that the last look saw.
func (l *LB) familiar() (ids []string) {
	for _, u := range l.upstreams {
		ids = slices.AppendSeq(ids, maps.Keys(u.history.newest()))
	}
	return append(ids, l.sight.seenLast...)
}

// lookPatiently looks, and looks again while a resolver is still finding out, for as long as a look may take: for
// commands, which come round only once.
func (l *LB) lookPatiently(ctx context.Context) (*facts, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel()
	news := make(chan struct{})
	watch.Go(func() {
		l.chain.Watch(ctx, func() {
			select {
			case news <- struct{}{}:
			case <-ctx.Done():
			}
		})
	})
	var last *facts
	for {
		f, err := l.look(ctx)
		switch {
		case err != nil && last != nil: // it took too long
			return last, nil
		case err != nil || !f.pending():
			return f, err
		}
		last = f
		select {
		case <-news:
		case <-ctx.Done():
			return f, nil
		}
	}
}

func (f *facts) pending() bool {
	return slices.ContainsFunc(f.nodes, func(n fact) bool { return n.where.Pending() })
}

// port says which port of the node the upstream uses.
func (u *UpstreamConfig) port(f *fact) (uint16, error) {
	switch u.PortFrom {
	case "config":
		return u.Port, nil
	case "node":
		for _, p := range []uint16{f.where.Port, f.Port} {
			if p != 0 {
				return p, nil
			}
		}
		return u.Port, nil
	}
	label := u.PortFrom[len("label:"):]
	text, ok := f.Labels[label]
	if !ok {
		return 0, fmt.Errorf("it has no label %s to take the port from", label)
	}
	return pool.ParsePort(text)
}

// expires is when the first heartbeat of a node that serves expires; zero for never.
func (f *facts) expires() time.Time {
	var first time.Time
	for i := range f.nodes {
		n := &f.nodes[i]
		if n.Wanted() && !n.Expires.IsZero() && (first.IsZero() || n.Expires.Before(first)) {
			first = n.Expires
		}
	}
	return first
}

// Quarantine is an entry that is refused, and why.
type Quarantine pool.Refusal

// refusal says why a node that should get traffic is refused; nil when there is nothing to say.
func (f *fact) refusal() error {
	switch {
	case f.Fault != "":
		return errors.New(f.Fault)
	case f.Wanted() && !f.where.Found():
		return f.where.Err
	}
	return nil
}
