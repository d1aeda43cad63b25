package dev

import (
	"fmt"
	"io"
	"net"
	"sync"
)

// relay is a node's wire to Redis: it passes connections on until it is cut. An agent whose wire is cut is as silent
// as one on a machine that lost its power: an agent in our process cannot be killed, and one that is merely stopped
// would take leave.
type relay struct {
	target string
	ln     net.Listener
	done   sync.WaitGroup

	mu    sync.Mutex
	down  bool
	conns map[net.Conn]struct{}
}

// listenRelay passes connections to a free port of this host on to target (host:port).
func listenRelay(target string) (*relay, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for relay: %w", err)
	}
	r := &relay{target: target, ln: ln, conns: map[net.Conn]struct{}{}}
	r.done.Go(r.accept)
	return r, nil
}

func (r *relay) addr() string { return r.ln.Addr().String() }

// cut closes all connections at once and refuses new ones, and returns when nothing is passed on any more.
func (r *relay) cut() {
	r.mu.Lock()
	r.down = true
	for c := range r.conns {
		c.Close()
	}
	r.mu.Unlock()
	r.ln.Close()
	r.done.Wait()
}

func (r *relay) accept() {
	for {
		near, err := r.ln.Accept()
		if err != nil {
			return // cut
		}
		r.done.Go(func() { r.pass(near) })
	}
}

// pass copies both ways until either side ends.
func (r *relay) pass(near net.Conn) {
	defer near.Close()
	if !r.keep(near) {
		return
	}
	defer r.drop(near)
	far, err := net.Dial("tcp", r.target)
	if err != nil {
		return // redis is away: for the agent, too
	}
	defer far.Close()
	if !r.keep(far) {
		return
	}
	defer r.drop(far)
	var back sync.WaitGroup
	back.Go(func() {
		io.Copy(near, far) // its end is all that matters
		near.Close()
	})
	io.Copy(far, near)
	far.Close()
	back.Wait()
}

// keep notes a connection for cut; false when that came first.
func (r *relay) keep(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.down {
		r.conns[c] = struct{}{}
	}
	return !r.down
}

func (r *relay) drop(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}
