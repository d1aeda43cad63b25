package harness

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// backends are the sample applications of all nodes. They tell nodes apart by the address that they are called at, so
// that one listener does for every node of a port where all addresses are local.
type backends struct {
	anyAddress bool // else each address of a case stands for one of 127.0.0.1; see network
	ipv6       bool

	server    http.Server
	done      sync.WaitGroup
	listening map[netip.AddrPort]netip.AddrPort // what a node is called at -> where that arrives
	scene     atomic.Pointer[scene]

	mu     sync.Mutex
	called map[netip.AddrPort]netip.AddrPort // the other way round, where the two differ
}

// scene is what the backends are during one play.
type scene struct {
	names map[netip.AddrPort]string // what they answer with
	dead  map[string]bool           // they break every connection
	conns atomic.Int64              // opened by Nginx

	mu      sync.Mutex
	gate    chan struct{} // closed to answer those that wait; nil: nobody has to wait
	arrived chan struct{} // gets one for each request that waits
}

// newBackends listens nowhere yet: prepare does.
func newBackends(n network) *backends {
	b := &backends{anyAddress: n.anyAddress, ipv6: n.ipv6, listening: map[netip.AddrPort]netip.AddrPort{}, called: map[netip.AddrPort]netip.AddrPort{}}
	b.server = http.Server{Handler: b, ConnState: b.track, ReadHeaderTimeout: time.Minute}
	return b
}

// prepare makes the backends those of a play, and returns where Nginx has to send what is for an address: to that very
// address unless the network can't do that.
func (b *backends) prepare(s *scene) (moved map[netip.AddrPort]netip.AddrPort, err error) {
	moved = map[netip.AddrPort]netip.AddrPort{}
	for at := range s.names {
		to, ok := b.listening[at]
		if !ok {
			if to, err = b.listen(at); err != nil {
				return nil, err
			}
			b.listening[at] = to
		}
		if to != at {
			moved[at] = to
		}
	}
	b.scene.Store(s)
	return moved, nil
}

func (b *backends) listen(at netip.AddrPort) (netip.AddrPort, error) {
	network, address := "tcp", fmt.Sprintf(":%d", at.Port())
	own := !b.anyAddress || at.Addr().Is6() && !b.ipv6
	switch {
	case own:
		network, address = "tcp4", "127.0.0.1:0"
	case !b.ipv6:
		network = "tcp4"
	}
	if !own {
		for other, to := range b.listening {
			if other.Port() == at.Port() && other == to {
				return at, nil // there is one for all addresses of the port
			}
		}
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return at, fmt.Errorf("listen for %s: %w", at, err)
	}
	to := at
	if own {
		to = l.Addr().(*net.TCPAddr).AddrPort()
		b.mu.Lock()
		b.called[to] = at
		b.mu.Unlock()
	}
	b.done.Go(func() { _ = b.server.Serve(l) }) // it ends with Close
	return to, nil
}

// Close ends all of them.
func (b *backends) Close() error {
	err := b.server.Close()
	b.done.Wait()
	return err
}

func (b *backends) track(_ net.Conn, state http.ConnState) {
	if s := b.scene.Load(); s != nil && state == http.StateNew {
		s.conns.Add(1)
	}
}

// name is the node that a connection was made to.
func (b *backends) name(s *scene, local net.Addr) string {
	at := local.(*net.TCPAddr).AddrPort()
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	b.mu.Lock()
	if is, ok := b.called[at]; ok {
		at = is
	}
	b.mu.Unlock()
	if name, ok := s.names[at]; ok {
		return name
	}
	return at.String() + " (no node of the case)"
}

// nodeHeader says which node answered.
const nodeHeader = "X-Harness-Node"

func (b *backends) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := b.scene.Load()
	name := b.name(s, r.Context().Value(http.LocalAddrContextKey).(net.Addr))
	if s.dead[name] {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.(*net.TCPConn).SetLinger(0) // the connection is broken either way
			conn.Close()
		}
		return
	}
	s.wait(r.Context())
	w.Header().Set(nodeHeader, name)
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, name+"\n") // Nginx may have gone
}

// hold makes requests wait from now on; each that waits is told to arrived.
func (s *scene) hold(most int) (arrived <-chan struct{}, release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gate := make(chan struct{})
	s.gate, s.arrived = gate, make(chan struct{}, most)
	return s.arrived, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.gate = nil
		close(gate)
	}
}

func (s *scene) wait(ctx context.Context) {
	s.mu.Lock()
	gate, arrived := s.gate, s.arrived
	s.mu.Unlock()
	if gate == nil {
		return
	}
	select {
	case arrived <- struct{}{}:
	default: // more than were sent: Nginx tries again
	}
	select {
	case <-gate:
	case <-ctx.Done():
	}
}
