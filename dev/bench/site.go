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

// site is what all contenders share: a folder, Redis with the pool in it, and the nodes, which send real heartbeats.
type site struct {
	dir   string
	redis *servers.Redis
	pool  *pool.Pool
	nodes []*load.Backend

	beats   sync.WaitGroup
	closers []func() error
}

const (
	heartbeatEvery = 10 * time.Second // both are the agent's defaults
	heartbeatTTL   = 30 * time.Second
)

// startSite returns a site whose nodes serve and are registered. Troubles of heartbeats go to log. close ends it.
func startSite(ctx context.Context, o options, log io.Writer) (*site, error) {
	s := &site{}
	if err := s.start(ctx, o, log); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *site) start(ctx context.Context, o options, log io.Writer) (err error) {
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
	if s.pool, err = pool.Open(pool.Config{URL: s.redis.URL()}); err != nil {
		return err
	}
	s.atEnd(s.pool.Close)
	beating, stop := context.WithCancel(ctx)
	s.atEnd(func() error { stop(); s.beats.Wait(); return nil })
	for i := range o.Nodes {
		if err := s.join(ctx, beating, i+1, log); err != nil {
			return err
		}
	}
	return nil
}

// join starts node number i on 127.0.1.i and makes it a member of the pool.
func (s *site) join(ctx, beating context.Context, i int, log io.Writer) error {
	id := fmt.Sprintf("n%d", i)
	node, err := load.Listen(fmt.Sprintf("127.0.1.%d:0", i), id)
	if err != nil {
		return err
	}
	s.atEnd(func() error { node.Kill(); return nil })
	at := netip.MustParseAddrPort(node.Addr())
	m, _, err := s.pool.Register(ctx, pool.Registration{
		ID: id, Address: at.Addr(), Port: at.Port(), Weight: 1, Agent: "bench", TTL: heartbeatTTL,
	}, "")
	if err != nil {
		return fmt.Errorf("register node %s: %w", id, err)
	}
	s.nodes = append(s.nodes, node)
	s.beats.Go(func() {
		for pause(beating, heartbeatEvery) == nil {
			if _, err := m.Heartbeat(beating, pool.Metrics{}); err != nil && beating.Err() == nil {
				fmt.Fprintf(log, "heartbeat of %s: %v\n", id, err)
			}
		}
	})
	return nil
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

// pause returns nil after d, or why ctx ended before that.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
