package main

import (
	"context"
	"slices"
	"time"
)

// long is d, or in a short run what is enough for the same mechanics.
func (s *Site) long(d, short time.Duration) time.Duration {
	if s.opts.short {
		return short
	}
	return d
}

// times is n, or in a short run less.
func (s *Site) times(n, short int) int {
	if s.opts.short {
		return short
	}
	return n
}

// all is every node of the site.
func (s *Site) all() []string { return s.but() }

// but is every node except these, sorted.
func (s *Site) but(ids ...string) (rest []string) {
	for _, n := range s.nodes {
		if !slices.Contains(ids, n.id) {
			rest = append(rest, n.id)
		}
	}
	slices.Sort(rest)
	return rest
}

// freeze and unfreeze are the operator's, straight to Redis.
func (s *Site) freeze(ids ...string) {
	for _, id := range ids {
		_, err := s.pool.Freeze(s.ctx, id, "faults", "a fault is played")
		s.must(err)
	}
}

func (s *Site) unfreeze(ids ...string) {
	for _, id := range ids {
		_, err := s.pool.Unfreeze(s.ctx, id, "faults")
		s.must(err)
	}
}

// redisDo sends a command straight to Redis.
func (s *Site) redisDo(args ...any) {
	if err := s.rdb.Do(s.ctx, args...).Err(); err != nil {
		s.fail("%.100v: %w", args, err)
	}
}

// agents does something to the agents of some nodes.
func (s *Site) agents(ids []string, do func(*node) error) {
	for _, n := range s.nodes {
		if slices.Contains(ids, n.id) {
			s.must(do(n))
		}
	}
}

// cutOff has Redis refuse the agents of these nodes.
func (s *Site) cutOff(ids ...string) {
	s.agents(ids, func(n *node) error { return n.redis.Refuse() })
}

// reconnect ends that.
func (s *Site) reconnect(ids ...string) {
	s.agents(ids, func(n *node) error { return n.redis.Heal() })
}

// expire ends heartbeats at one moment.
func (s *Site) expire(ids ...string) {
	del := []any{"DEL"}
	for _, id := range ids {
		del = append(del, "bazbeans:node:"+id+":heartbeat")
	}
	s.redisDo(del...)
}

// pause lets d pass, with traffic.
func (s *Site) pause(d time.Duration) {
	select {
	case <-s.ctx.Done():
	case <-time.After(d):
	}
	s.must(context.Cause(s.ctx))
}
