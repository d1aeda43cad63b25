package resolvertest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/resolvers"
)

// throughAChain: the chain makes of its words what the case says, and asks the next link only about nodes that are not
// its own, or that it cannot know and never knew.
func throughAChain(s *subject) error {
	if err := s.learn(s.named()...); err != nil {
		return err
	}
	fallback := resolvers.Func(func(_ context.Context, nodes []pool.Node) (resolvers.Answers, error) {
		all := resolvers.Answers{}
		for _, n := range nodes {
			all[n.ID] = resolvers.Answer{Endpoint: elsewhere}
		}
		return all, nil
	})
	networks := s.Door.Networks
	if len(networks) > 0 {
		networks = append(slices.Clip(networks), netip.PrefixFrom(elsewhere.Addr, elsewhere.Addr.BitLen()))
	}
	chain, err := resolvers.NewChain(resolvers.Door{Networks: networks},
		resolvers.Link{Name: "it", Resolver: s.Resolver}, resolvers.Link{Name: "fallback", Resolver: fallback})
	if err != nil {
		return err
	}
	// Only a part is asked about: answers for other nodes do no harm.
	for ids := range slices.Chunk(s.named(), 2) {
		found, _ := chain.Resolve(context.Background(), s.nodes(ids...)) // its error is of those that cannot be known
		if len(found) != len(ids) {
			return fmt.Errorf("asked about %v the chain has %d resolutions", ids, len(found))
		}
		for _, id := range ids {
			r := found[id]
			if at, known := s.Known[id]; known {
				if r.Link != "it" || r.Endpoint != at {
					return fmt.Errorf("the chain has %s at %+v, want it from the first link at %+v", id, r, at)
				}
				continue
			}
			if slices.Contains(s.Refused, id) != resolvers.IsRefused(r.Err) || r.Found() && r.Endpoint != elsewhere {
				return fmt.Errorf("the chain has %s at %+v", id, r)
			}
		}
	}
	return nil
}

// elsewhere is an address of documentation (RFC 5737).
var elsewhere = resolvers.Endpoint{Addr: netip.MustParseAddr("192.0.2.1")}

// notifier: Changed gives the same channel each time, also while Resolve runs, and nobody closes it.
func notifier(s *subject) error {
	n, ok := s.Resolver.(resolvers.Notifier)
	if !ok {
		return nil
	}
	first := n.Changed()
	if first == nil {
		return errors.New("its channel is nil")
	}
	var g errgroup.Group
	g.Go(func() error { return s.learn(s.named()...) })
	for range 100 {
		if n.Changed() != first {
			return errors.Join(errors.New("its Changed returns another channel than before: what is sent to the first is lost"), g.Wait())
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := s.close(); err != nil {
		return err
	}
	for range 2 { // a value may be left in it
		select {
		case _, open := <-first:
			if !open {
				return errors.New("its channel is closed: who waits for news would never rest")
			}
		default:
		}
	}
	return nil
}

// two: a second resolver of the kind works beside the first: lbd makes the new one before it closes the old.
func two(s *subject) error {
	other := &subject{Case: s.Case, t: s.t, Resolver: s.New(s.t)}
	var g errgroup.Group
	for _, one := range []*subject{s, other} {
		g.Go(func() error { return one.learn(one.named()...) })
	}
	err := errors.Join(g.Wait(), other.close())
	if err != nil {
		return err
	}
	return s.learn(s.named()...)
}

// shared: one resolver serves several callers at the same time.
func shared(s *subject) error {
	var g errgroup.Group
	for range 8 {
		g.Go(func() error { return s.learn(s.named()...) })
	}
	return g.Wait()
}

// change: what the source says anew is found, and a Notifier tells of it.
func change(s *subject) error {
	if err := s.learn(s.named()...); err != nil {
		return err
	}
	for told := true; told; { // what it told before
		told = s.wait(0)
	}
	now := s.Change(s.t)
	var ids []string
	for id := range now {
		ids = append(ids, id)
	}
	if _, ok := s.Resolver.(resolvers.Notifier); ok && !s.wait(s.Within) {
		return fmt.Errorf("its source says something new of %v, and nothing comes over Changed", ids)
	}
	return s.until(now, ids, true)
}
