package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bazbeans/bazbeans/dev/load"
)

// enough requests tell who answers: each of three nodes gets some dozens of them.
const enough = 150

// story is something that happens to the site under traffic. play returns what was not as it should be; that no request
// is lost is asked of all of them, but for those that this engine's Nginx loses by itself.
type story struct {
	name  string
	play  func(ctx context.Context, s *site, t *traffic) error
	loses map[string]toll // by engine
}

// toll is what Nginx itself may take of the requests, whoever tells it of a change: so many answers of a status at most.
type toll struct {
	most   int64
	reason string // as the load counts it
	why    string
}

// retryToll: with `resolve` Nginx tries a request nowhere else once its set has changed (docs/live-resolve.md, Retries).
// Those are lost which wait for a node that has gone without a word just then, a second at most (the site's
// proxy_connect_timeout).
var retryToll = toll{rate, "status 502", "by Nginx: they waited for a node when the set changed"}

var stories = []story{
	{"three nodes answer", func(ctx context.Context, s *site, t *traffic) error { return t.answer(ctx, nodes...) }, nil},
	{"a node is frozen, and comes back", freeze, nil},
	{"the load balancer is cut off from Redis", lbAlone, nil},
	{"a node is cut off from all", nodeAlone, map[string]toll{"resolve": retryToll}},
	{"a node gets another address", nodeMoves, map[string]toll{"resolve": retryToll}},
}

// answer waits until all of these nodes and nobody else get traffic.
func (t *traffic) answer(ctx context.Context, want ...string) error {
	return until(ctx, func() error {
		d, err := t.during(ctx, enough)
		if err != nil {
			return err
		}
		return answered(d, want...)
	})
}

// without wants that from now on a node gets nothing at all, and waits until the others get all traffic: one of them whose
// heartbeat came late is out for a moment.
func (t *traffic) without(ctx context.Context, gone string, others ...string) error {
	d, err := t.during(ctx, enough)
	switch {
	case err != nil:
		return err
	case d.ByNode[gone] > 0:
		return fmt.Errorf("%s answered %d requests", gone, d.ByNode[gone])
	case answered(d, others...) == nil:
		return nil
	}
	return t.answer(ctx, others...)
}

// answered returns nil if these nodes and nobody else have answered.
func answered(d load.Counts, want ...string) error {
	if got := slices.Sorted(maps.Keys(d.ByNode)); !slices.Equal(got, want) {
		return fmt.Errorf("%s answered, want %s", strings.Join(got, ", "), strings.Join(want, ", "))
	}
	return nil
}

// freeze: when `bbctl freeze --wait` has ended, not one more request gets to the node.
func freeze(ctx context.Context, s *site, t *traffic) error {
	if err := s.bbctl(ctx, "freeze", "node2", "--wait", "--reason", "harness"); err != nil {
		return err
	}
	if err := t.without(ctx, "node2", "node1", "node3"); err != nil {
		return fmt.Errorf("after freeze --wait: %w", err)
	}
	if err := s.bbctl(ctx, "unfreeze", "node2"); err != nil {
		return err
	}
	return t.answer(ctx, nodes...)
}

// lbAlone: a load balancer that can't see the pool goes on with what it has, says that it isn't ready, and learns what
// was missed as soon as it can.
func lbAlone(ctx context.Context, s *site, t *traffic) error {
	if err := s.cut(ctx, "pool", "nginx"); err != nil {
		return err
	}
	blind := until(ctx, func() error {
		if s.ready(ctx) == nil {
			return errors.New("lbd says that it is ready")
		}
		return nil
	})
	frozen := s.bbctl(ctx, "freeze", "node1", "--reason", "harness") // Redis is there for everybody else
	err := t.answer(ctx, nodes...)
	if err != nil {
		err = fmt.Errorf("while cut off: %w", err)
	}
	if err := errors.Join(blind, frozen, err, s.join(ctx, "pool", "nginx")); err != nil {
		return err
	}
	if err := t.answer(ctx, "node2", "node3"); err != nil {
		return fmt.Errorf("what was frozen meanwhile: %w", err)
	}
	if err := s.bbctl(ctx, "unfreeze", "node1"); err != nil {
		return err
	}
	return errors.Join(t.answer(ctx, nodes...), until(ctx, func() error { return s.ready(ctx) }))
}

// nodeAlone: a node that neither Nginx nor Redis can reach costs time and no request, is taken out when its heartbeat has
// expired, and comes back by itself.
func nodeAlone(ctx context.Context, s *site, t *traffic) error {
	if err := s.cut(ctx, "site", "node3"); err != nil {
		return err
	}
	out := until(ctx, func() error {
		seen, err := s.status(ctx)
		if err == nil && slices.Contains(seen.serving(), "node3") {
			err = errors.New("lbd still sends to node3")
		}
		return err
	})
	err := t.without(ctx, "node3", "node1", "node2")
	if err := errors.Join(out, err, s.join(ctx, "site", "node3")); err != nil {
		return err
	}
	return t.answer(ctx, nodes...)
}

// nodeMoves: a node that comes back with another address is found there, though somebody else has its former one.
func nodeMoves(ctx context.Context, s *site, t *traffic) error {
	seen, err := s.status(ctx)
	if err != nil {
		return err
	}
	former := seen.address("node3")
	if err := s.cut(ctx, "site", "node3"); err != nil {
		return err
	}
	if err := errors.Join(s.up(ctx, "newcomer"), s.join(ctx, "site", "node3")); err != nil {
		return err
	}
	if err := t.answer(ctx, nodes...); err != nil {
		return err
	}
	if seen, err = s.status(ctx); err == nil && seen.address("node3") == former {
		err = fmt.Errorf("node3 has its former address %s again: the story did not happen", former)
	}
	return err
}

// cut takes a container out of a network: what was under way is lost without a word, as when a cable is pulled.
func (s *site) cut(ctx context.Context, network, service string) error {
	_, err := docker(ctx, "network", "disconnect", s.network(network), s.ids[service])
	return err
}

func (s *site) join(ctx context.Context, network, service string) error {
	_, err := docker(ctx, "network", "connect", s.network(network), s.ids[service])
	return err
}
