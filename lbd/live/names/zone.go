package names

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Peer is one server of an upstream.
type Peer struct {
	Addr   netip.AddrPort
	Weight int  // 1 to 65535
	Backup bool // gets requests when no other is usable
}

// Upstream is a name of Nginx's configuration and the peers behind it.
type Upstream struct {
	Name  string
	Peers []Peer // none: requests get 502, as with a set whose servers are all down
}

// Zone is the DNS server. Its methods may be called at any time from any goroutine.
type Zone struct {
	addr netip.AddrPort
	udp  *net.UDPConn
	tcp  *net.TCPListener
	log  *slog.Logger

	content   atomic.Pointer[content]
	addresses chan addressed

	mu        sync.Mutex
	clients   map[asker]*client
	strangers map[netip.AddrPort]time.Time // sockets that are connected to us and have not asked yet, and since when
}

// content is what a Zone answers from. It does not change.
type content struct {
	generation int64
	sets       []*set // in the order given
	byOwner    map[string]*set
	hosts      map[string]netip.Addr // the names of peers, like "10.0.1.10:8000."
}

// Listen opens the Zone's port, the same for UDP and TCP, on a loopback address; port 0 takes a free one. Nothing is
// answered before [Zone.Run]. The port should stay the same over restarts: Nginx's configuration names it.
func Listen(addr netip.AddrPort, log *slog.Logger) (*Zone, error) {
	if !addr.Addr().IsLoopback() {
		return nil, fmt.Errorf("listen on %s for Nginx's questions: not a loopback address: use 127.0.0.1:PORT", addr)
	}
	for try := 0; ; try++ {
		tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
		if err != nil {
			return nil, fmt.Errorf("listen on %s for Nginx's questions: %w", addr, err)
		}
		bound := tcp.Addr().(*net.TCPAddr).AddrPort()
		udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(bound))
		if err == nil {
			// A new worker asks for all addresses of an upstream at once. The kernel bounds it to net.core.rmem_max.
			_ = udp.SetReadBuffer(4 << 20)
			stampArrivals(udp)
			return &Zone{
				addr: bound, udp: udp, tcp: tcp, log: log, addresses: make(chan addressed, maxWaiting),
				clients: map[asker]*client{}, strangers: map[netip.AddrPort]time.Time{},
			}, nil
		}
		tcp.Close()
		if addr.Port() != 0 || try == 9 {
			return nil, fmt.Errorf("listen on %s for Nginx's questions: %w", addr, err)
		}
	}
}

// Addr is where the Zone listens.
func (z *Zone) Addr() netip.AddrPort { return z.addr }

// Set replaces what is answered, as one step: a question is answered from the old content or from the new. It returns
// at once; [Zone.Pending] tells when Nginx goes by it. After an error nothing has changed.
//
// Before the first Set, and for upstreams that are not in it, the answer is a failure upon which Nginx keeps what it
// has.
func (z *Zone) Set(generation int64, upstreams []Upstream) error {
	next := &content{generation: generation, byOwner: map[string]*set{}, hosts: map[string]netip.Addr{}}
	z.mu.Lock()
	defer z.mu.Unlock()
	old := z.content.Load()
	for _, u := range upstreams {
		s, err := newSet(u, generation)
		if err != nil {
			return err
		}
		key := owner(u.Name)
		if next.byOwner[key] != nil {
			return fmt.Errorf("upstream %s is there twice", u.Name)
		}
		if old != nil {
			if o := old.byOwner[key]; o != nil && bytes.Equal(o.packed, s.packed) {
				s = o
			}
		}
		next.byOwner[key] = s
		next.sets = append(next.sets, s)
		maps.Copy(next.hosts, s.hosts)
	}
	if old != nil {
		for key, s := range old.byOwner {
			if next.byOwner[key] != s {
				s.last = generation - 1
			}
		}
	}
	z.content.Store(next)
	return nil
}
