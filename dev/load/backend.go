package load

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// remembered is how many requests a Backend keeps the start of: more than a
// minute of one node's share at 2,000 requests a second over three nodes.
const remembered = 1 << 16

// Backend is a sample application on one node. It answers every GET and POST
// with 200, its node's id in X-Node and as the body, and /health with 200, or
// 503 while it is not well.
type Backend struct {
	id     string
	addr   string
	server *http.Server
	ended  chan struct{} // closed when the server has ended
	sick   atomic.Bool

	mu     sync.Mutex
	killed bool
	conns  map[*net.TCPConn]struct{}
	starts []time.Time // ring: request n, counted from 0, is at n % remembered
	served int64
}

// Listen starts a backend on addr ("127.0.0.1:0": any free port). It serves
// until Close or Kill.
func Listen(addr, nodeID string) (*Backend, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for backend %s: %w", nodeID, err)
	}
	b := &Backend{id: nodeID, addr: l.Addr().String(), ended: make(chan struct{}), conns: map[*net.TCPConn]struct{}{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/health", b.health)
	mux.HandleFunc("/", b.answer)
	b.server = &http.Server{Handler: mux, ConnState: b.track}
	go func() {
		defer close(b.ended)
		b.server.Serve(l) // ends with ErrServerClosed; nothing else can stop it
	}()
	return b, nil
}

// Addr is host:port.
func (b *Backend) Addr() string { return b.addr }

// ID is the node's id.
func (b *Backend) ID() string { return b.id }

// SetHealthy decides what /health answers. All else is answered as before.
func (b *Backend) SetHealthy(well bool) { b.sick.Store(!well) }

// Served is how many requests have started so far, /health not counted.
func (b *Backend) Served() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.served
}

// Starts returns when the requests after t started, oldest first, of the
// newest 65,536. The times carry the monotonic clock: they may be compared and
// subtracted whatever happens to the wall clock.
func (b *Backend) Starts(t time.Time) []time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	var after []time.Time
	for n := b.served - 1; n >= max(b.served-remembered, 0); n-- {
		start := b.starts[n%remembered]
		if !start.After(t) {
			break
		}
		after = append(after, start)
	}
	slices.Reverse(after)
	return after
}

// LastStart returns when the last request that started after t did; false if
// none has.
func (b *Backend) LastStart(t time.Time) (time.Time, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.served == 0 {
		return time.Time{}, false
	}
	last := b.starts[(b.served-1)%remembered]
	return last, last.After(t)
}

// Close ends in order: no new connection, idle ones closed, requests under way
// answered; those that take longer than 5 s are cut.
func (b *Backend) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // a clean-up has no caller to wait for
	defer cancel()
	err := b.server.Shutdown(ctx)
	if err != nil {
		b.server.Close()
		err = fmt.Errorf("close backend %s: %w", b.id, err)
	}
	<-b.ended
	return err
}

// Kill ends as a machine that crashes and is up again: every connection is
// reset (RST) and new ones are refused.
func (b *Backend) Kill() {
	b.mu.Lock()
	b.killed = true
	for c := range b.conns {
		c.SetLinger(0)
	}
	b.mu.Unlock()
	b.server.Close()
	<-b.ended
}

func (b *Backend) track(c net.Conn, state http.ConnState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch state {
	case http.StateNew:
		b.conns[c.(*net.TCPConn)] = struct{}{}
		if b.killed {
			c.(*net.TCPConn).SetLinger(0)
		}
	case http.StateClosed, http.StateHijacked:
		delete(b.conns, c.(*net.TCPConn))
	}
}

func (b *Backend) answer(w http.ResponseWriter, r *http.Request) {
	b.started(time.Now())
	if r.Method == http.MethodPost {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return // the client has gone
		}
	}
	w.Header()["X-Node"] = []string{b.id}
	io.WriteString(w, b.id+"\n")
}

func (b *Backend) started(at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.starts) < remembered {
		b.starts = append(b.starts, at)
	} else {
		b.starts[b.served%remembered] = at
	}
	b.served++
}

func (b *Backend) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("X-Node", b.id)
	if b.sick.Load() {
		http.Error(w, "not well", http.StatusServiceUnavailable)
		return
	}
	io.WriteString(w, "ok\n")
}
