package dev

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/bazbeans/bazbeans/agent"
	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/pool"
)

// Node is one application node: a sample application, its agent, and the agent's wire to Redis.
type Node struct {
	ID   string
	Addr netip.AddrPort // of the application

	site *Site

	mu      sync.Mutex // also held while the node starts or ends
	backend *load.Backend
	line    *relay
	up      bool
	stop    context.CancelFunc // the agent's
	agent   sync.WaitGroup
	before  int64 // served by applications before this one
}

// nodeAddr is the address of node n, counted from 1.
func nodeAddr(n int) netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 1, byte(n)}) }

func (s *Site) newNode(n int) *Node {
	return &Node{ID: fmt.Sprintf("web%d", n), Addr: netip.AddrPortFrom(nodeAddr(n), uint16(s.opts.NodePort)), site: s}
}

// start begins a life of the node, which goes on when ctx ends: the application first, so that it serves when its agent
// says so.
func (n *Node) start(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.up {
		return fmt.Errorf("start node %s: it runs", n.ID)
	}
	backend, err := load.Listen(n.Addr.String(), n.ID)
	if err != nil {
		return fmt.Errorf("start node %s: %w (choose another port with --node-port)", n.ID, err)
	}
	line, err := listenRelay(n.site.redisAddr)
	if err != nil {
		return errors.Join(fmt.Errorf("start node %s: %w", n.ID, err), backend.Close())
	}
	a, err := agent.New(n.config(line.addr()))
	if err != nil {
		line.cut()
		return errors.Join(fmt.Errorf("start node %s: %w", n.ID, err), backend.Close())
	}
	n.handle(a)
	if n.backend != nil {
		n.before += n.backend.Served()
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.backend, n.line, n.stop, n.up = backend, line, stop, true
	n.agent.Go(func() {
		if err := a.Run(ctx); err != nil {
			n.site.opts.Log.Error("agent ended", "node", n.ID, "error", err)
		}
	})
	return nil
}

func (n *Node) config(redis string) agent.Config {
	o := n.site.opts
	c := agent.Defaults()
	c.Redis = pool.Config{URL: "redis://" + redis}
	c.NodeID, c.Address, c.NodePort = n.ID, n.Addr.Addr().String(), n.Addr.Port()
	c.HeartbeatInterval, c.HeartbeatTTL = agent.Duration(o.HeartbeatInterval), agent.Duration(o.HeartbeatTTL)
	c.CPUThreshold, c.MemoryThreshold = 100, 100 // a busy laptop does not freeze its own demo
	c.DrainTimeout = 0                           // the whole site ends with it: the guard would hold the last node
	c.AllowUnsigned = deployable
	c.DataCenter = fmt.Sprintf("dc%d", 2-n.Addr.Addr().As4()[3]%2)
	c.AppDir, c.StateDir, c.Log = n.site.dir, n.site.dir, o.Log
	return c
}

// kill ends the node as a power cut does: its agent is not heard of any more, its connections are reset.
func (n *Node) kill() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.up {
		return fmt.Errorf("kill node %s: it does not run", n.ID)
	}
	n.up = false
	n.line.cut()
	n.backend.Kill()
	n.stop()
	return nil
}

// leave ends the node in order: the agent leaves the pool, then the application closes.
func (n *Node) leave() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var err error
	if n.stop != nil {
		n.stop()
	}
	n.agent.Wait()
	if n.up {
		n.up = false
		n.line.cut()
		err = n.backend.Close()
	}
	return err
}

// Up says whether the node runs: it was started and not killed since.
func (n *Node) Up() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.up
}

// Served is how many requests its application has begun to answer since the site's start, over all its lives.
func (n *Node) Served() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.backend == nil {
		return 0
	}
	return n.before + n.backend.Served()
}

// Starts returns when requests after t began, oldest first; see [load.Backend.Starts]. It knows only the newest life.
func (n *Node) Starts(t time.Time) []time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.backend == nil {
		return nil
	}
	return n.backend.Starts(t)
}
