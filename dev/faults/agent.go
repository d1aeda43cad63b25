package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/pool"
)

// All times are a tenth of the defaults, so that what takes minutes on a site takes seconds here, by the same mechanics.
const (
	beatEvery = time.Second
	beatTTL   = 3 * time.Second
	window    = 6 * time.Second // of the guard
	hold      = 6 * time.Second // of the guard
	resync    = time.Second
)

// node is an application that answers with its id, and its agent, which reaches Redis through a proxy of its own.
type node struct {
	id    string
	app   *load.Backend
	redis *Proxy // nil with Sentinels

	pool  *pool.Pool
	phase time.Duration      // of its heartbeats
	quit  context.CancelFunc // of an agent that we play
	done  sync.WaitGroup

	program *servers.Program // of a real agent
	argv    []string
	dir     string
}

// addNode starts node number i on 127.0.1.i, without its agent.
func (s *Site) addNode(i int) (*node, error) {
	n := &node{id: fmt.Sprintf("web%d", i), dir: s.dir, phase: beatEvery * time.Duration(i) / time.Duration(s.setup.Nodes)}
	var err error
	if n.app, err = load.Listen(fmt.Sprintf("127.0.1.%d:0", i), n.id); err != nil {
		return nil, err
	}
	s.atEnd(func() error { n.app.Kill(); return nil })
	cfg := s.redisConfig("")
	if s.sentinels == nil {
		if n.redis, err = NewProxy(s.redis.Addr()); err != nil {
			return nil, err
		}
		s.atEnd(n.redis.Close)
		cfg = s.redisConfig(n.redis.Addr())
	}
	if n.pool, err = pool.Open(cfg); err != nil {
		return nil, err
	}
	s.atEnd(n.pool.Close)
	at := netip.MustParseAddrPort(n.app.Addr())
	if s.setup.Agents {
		n.argv = []string{s.bin("bbagent"), "--redis-url", cfg.URL, "--node-id", n.id, "--address", at.Addr().String(),
			"--node-port", strconv.Itoa(int(at.Port())), "--heartbeat-interval", beatEvery.String(), "--heartbeat-ttl", beatTTL.String(),
			"--command-poll-interval", "500ms", "--cpu-threshold", "100", "--memory-threshold", "100", "--app-dir", "/"}
	}
	s.nodes = append(s.nodes, n)
	s.atEnd(n.endAgent)
	return n, n.startAgent(s.ctx)
}

// startAgent starts the node's agent.
func (n *node) startAgent(ctx context.Context) (err error) {
	if n.argv != nil {
		n.program, err = servers.StartProgram(n.dir, n.argv...)
		return err
	}
	ctx, n.quit = context.WithCancel(ctx)
	n.done.Go(func() { n.beat(ctx) })
	return nil
}

// endAgent ends the agent as kill -9 does: the pool hears nothing of it.
func (n *node) endAgent() error {
	if n.program != nil {
		return n.program.Kill()
	}
	n.quit()
	n.done.Wait()
	return nil
}

// beat registers the node and sends heartbeats until ctx ends, whatever becomes of them: that is what an agent does.
// Nodes send them at moments of their own, as a fleet does.
func (n *node) beat(ctx context.Context) {
	at := netip.MustParseAddrPort(n.app.Addr())
	var member *pool.Member
	next := time.NewTimer(n.phase)
	defer next.Stop()
	for {
		call, cancel := context.WithTimeout(ctx, 2*beatEvery)
		var err error
		if member == nil {
			reg := pool.Registration{ID: n.id, Address: at.Addr(), Port: at.Port(), Weight: 1, Agent: "faults", TTL: beatTTL}
			member, _, err = n.pool.Register(call, reg, "")
		} else {
			_, err = member.Heartbeat(call, pool.Metrics{})
		}
		cancel()
		if gone := (*pool.SupersededError)(nil); errors.As(err, &gone) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-next.C:
			next.Reset(beatEvery)
		}
	}
}
