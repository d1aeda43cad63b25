package main

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Proxy passes TCP connections on and can do to them what networks do. It is on loopback. Whatever it does holds until
// Heal, for connections there are and, but for Cut and Swallow, for those to come.
type Proxy struct {
	addr string

	mu       sync.Mutex
	target   string
	listener net.Listener // nil while it refuses
	links    map[*link]bool
	delay    time.Duration // before what the server says is passed on
	rate     int           // bytes a second in each direction; 0: as fast as it goes
	closed   bool
	working  sync.WaitGroup
}

// link is one connection through the proxy.
type link struct {
	client, server net.Conn
	deaf           chan struct{} // closed: no byte passes any more, nothing is closed
	deafened       sync.Once
}

// NewProxy starts a proxy before target, which is host:port.
func NewProxy(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start proxy: %w", err)
	}
	p := &Proxy{addr: l.Addr().String(), target: target, links: map[*link]bool{}}
	p.listen(l)
	return p, nil
}

// Addr is where it listens.
func (p *Proxy) Addr() string { return p.addr }

// Target sends connections to come to another server, and cuts those there are.
func (p *Proxy) Target(addr string) {
	p.mu.Lock()
	p.target = addr
	p.mu.Unlock()
	p.Cut()
}

// Delay has each answer of the server come that much later.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Limit lets so many bytes a second pass on each connection, in each direction.
func (p *Proxy) Limit(bytesPerSecond int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate = bytesPerSecond
}

// Cut resets every connection there is. New ones are welcome.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
	}
}

// Swallow makes every connection there is half-open: each side believes in it, and no byte arrives any more, as when
// a firewall has forgotten it. New ones are as good as ever.
func (p *Proxy) Swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.deafened.Do(func() { close(l.deaf) })
	}
}

// Refuse closes the port: connections there are get reset, new ones are refused.
func (p *Proxy) Refuse() error {
	p.mu.Lock()
	l := p.listener
	p.listener = nil
	p.mu.Unlock()
	if l == nil {
		return nil
	}
	err := l.Close()
	p.Cut()
	return err
}

// Heal ends all of it. Half-open connections stay so: nobody brings those back.
func (p *Proxy) Heal() error {
	p.Delay(0)
	p.Limit(0)
	p.mu.Lock()
	shut := p.listener == nil && !p.closed
	p.mu.Unlock()
	if !shut {
		return nil
	}
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		return fmt.Errorf("open proxy again: %w", err)
	}
	p.listen(l)
	return nil
}

// Close ends the proxy and all its connections.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	err := p.Refuse()
	p.working.Wait()
	return err
}

func (p *Proxy) listen(l net.Listener) {
	p.mu.Lock()
	p.listener = l
	p.mu.Unlock()
	p.working.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return // closed
			}
			p.working.Go(func() { p.serve(client) })
		}
	})
}

// serve passes bytes on until either side ends. A server that is not there is a reset for the client.
func (p *Proxy) serve(client net.Conn) {
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.DialTimeout("tcp", target, time.Second)
	l := &link{client: client, server: server, deaf: make(chan struct{})}
	if err != nil {
		l.server = client // there is no other side to reset
		l.reset()
		return
	}
	p.mu.Lock()
	if p.listener == nil {
		l.reset() // refused meanwhile
	}
	p.links[l] = true
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.pass(l, server, client, false) })
	both.Go(func() { p.pass(l, client, server, true) })
	both.Wait()
	l.reset()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// pass copies one direction; its end is the end of the other one.
func (p *Proxy) pass(l *link, to, from net.Conn, answers bool) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			time.Sleep(p.hold(n, answers))
			select {
			case <-l.deaf:
				continue // it goes nowhere
			default:
			}
			_, err = to.Write(buffer[:n])
		}
		if err != nil {
			select {
			case <-l.deaf: // the other side hears nothing of it, not even the end
			default:
				l.reset()
			}
			return
		}
	}
}

// hold is how long so many bytes are kept back.
func (p *Proxy) hold(n int, answers bool) (d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if answers {
		d = p.delay
	}
	if p.rate > 0 {
		d += time.Duration(float64(n) / float64(p.rate) * float64(time.Second))
	}
	return d
}

// reset closes both sides with RST, as a machine does that has been restarted.
func (l *link) reset() {
	for _, c := range []net.Conn{l.client, l.server} {
		if t, ok := c.(*net.TCPConn); ok {
			_ = errors.Join(t.SetLinger(0), t.Close()) // it may be closed already
		}
	}
}
