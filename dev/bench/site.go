package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/pool"
)

// site is what all contenders share: a folder, Redis, and the nodes. Each contender that needs one has a pool of its own
// in that Redis, with the same nodes, so that none works while it is another's turn.
type site struct {
	dir   string
	redis *servers.Redis
	nodes []*load.Backend
	log   io.Writer

	closers []func() error
}

const (
	heartbeatEvery = 10 * time.Second // both are the agent's defaults
	heartbeatTTL   = 30 * time.Second
)

// startSite returns a site whose nodes serve and are registered. Troubles of heartbeats go to log. close ends it.
func startSite(ctx context.Context, o options, log io.Writer) (*site, error) {
	s := &site{log: log}
	if err := s.start(ctx, o); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *site) start(ctx context.Context, o options) (err error) {
	if s.dir, err = os.MkdirTemp("", "bazbeans-bench-"); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	s.atEnd(func() error { return os.RemoveAll(s.dir) })
	opts := servers.RedisOptions{Dir: filepath.Join(s.dir, "redis")}
	if o.confd != "" {
		opts.Args = []string{"--notify-keyspace-events", "KEA"} // confd hears of a change by no other way
	}
	if s.redis, err = servers.StartRedis(ctx, opts); err != nil {
		return err
	}
	s.atEnd(s.redis.Kill)
	for i := range o.Nodes {
		node, err := load.Listen(fmt.Sprintf("127.0.1.%d:0", i+1), fmt.Sprintf("n%d", i+1))
		if err != nil {
			return err
		}
		s.atEnd(func() error { node.Kill(); return nil })
		s.nodes = append(s.nodes, node)
	}
	return nil
}

// fleet makes a pool under a prefix of its own and has all nodes join it. It is closed with the site.
func (s *site) fleet(ctx context.Context, prefix string) (*pool.Pool, error) {
	p, err := pool.Open(pool.Config{URL: s.redis.URL(), KeyPrefix: prefix})
	if err != nil {
		return nil, err
	}
	s.atEnd(p.Close)
	beating, stop := context.WithCancel(ctx)
	var beats sync.WaitGroup
	s.atEnd(func() error { stop(); beats.Wait(); return nil })
	for _, node := range s.nodes {
		m, err := join(ctx, p, node.ID(), netip.MustParseAddrPort(node.Addr()), heartbeatTTL)
		if err != nil {
			return nil, err
		}
		beats.Go(func() {
			for pause(beating, heartbeatEvery) == nil {
				if _, err := m.Heartbeat(beating, pool.Metrics{}); err != nil && beating.Err() == nil {
					fmt.Fprintf(s.log, "heartbeat of %s: %v\n", node.ID(), err)
				}
			}
		})
	}
	return p, nil
}

// join makes a node a member of a pool.
func join(ctx context.Context, p *pool.Pool, id string, at netip.AddrPort, ttl time.Duration) (*pool.Member, error) {
	m, _, err := p.Register(ctx, pool.Registration{
		ID: id, Address: at.Addr(), Port: at.Port(), Weight: 1, Agent: "bench", TTL: ttl,
	}, "")
	if err != nil {
		return nil, fmt.Errorf("register node %s: %w", id, err)
	}
	return m, nil
}

// served is how many requests all nodes together have got so far.
func (s *site) served() int64 {
	var sum int64
	for _, n := range s.nodes {
		sum += n.Served()
	}
	return sum
}

func (s *site) atEnd(f func() error) { s.closers = append(s.closers, f) }

// close ends what was started, the last one first.
func (s *site) close() error {
	var errs []error
	for len(s.closers) > 0 {
		last := len(s.closers) - 1
		errs = append(errs, s.closers[last]())
		s.closers = s.closers[:last]
	}
	return errors.Join(errs...)
}

// within lends the site to a part: what that adds to be closed is closed when it returns.
func (s *site) within(part func(*site) error) error {
	sub := &site{dir: s.dir, redis: s.redis, nodes: s.nodes, log: s.log}
	return errors.Join(part(sub), sub.close())
}

// pause returns nil after d, or why ctx ended before that.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
