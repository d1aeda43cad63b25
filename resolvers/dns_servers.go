package resolvers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// dnsServers are the servers that are asked in turn, and the search list.
type dnsServers struct {
	timeout time.Duration
	fixed   []*dnsServer // from the config; empty: those of the file

	file string // resolv.conf; "" when it is not needed

	mu     sync.Mutex
	looked time.Time // when the file was last looked at
	seen   os.FileInfo
	conf   *dns.ClientConfig
	listed []*dnsServer // of the file
}

func newDNSServers(o DNSOptions) (*dnsServers, error) {
	s := &dnsServers{timeout: o.Timeout}
	for _, text := range o.Servers {
		server, err := parseDNSServer(text)
		if err != nil {
			return nil, err
		}
		s.fixed = append(s.fixed, server)
	}
	if len(s.fixed) > 0 && !o.Search {
		return s, nil
	}
	s.file = o.Resolv
	return s, s.read(time.Now())
}

func parseDNSServer(text string) (*dnsServer, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return &dnsServer{addr: netip.AddrPortFrom(addr, 53).String()}, nil
	}
	ap, err := netip.ParseAddrPort(text)
	if err != nil || ap.Port() == 0 {
		return nil, fmt.Errorf("server %.80q is not an IP address, or one with a port (like 10.0.0.53 or 10.0.0.53:53)", text)
	}
	return &dnsServer{addr: ap.String()}, nil
}

// read reads the file if it has changed. What was read before stays if it can't be read now.
func (s *dnsServers) read(now time.Time) error {
	s.looked = now
	info, err := os.Stat(s.file)
	if err != nil {
		return err
	}
	if s.seen != nil && os.SameFile(info, s.seen) && info.ModTime().Equal(s.seen.ModTime()) && info.Size() == s.seen.Size() {
		return nil
	}
	conf, err := dns.ClientConfigFromFile(s.file)
	if err != nil {
		return fmt.Errorf("read %s: %w", s.file, err)
	}
	s.seen, s.conf, s.listed = info, conf, nil
	if len(conf.Servers) == 0 {
		conf.Servers = []string{"127.0.0.1"} // resolv.conf(5)
	}
	for _, text := range conf.Servers {
		if server, err := parseDNSServer(text); err == nil {
			s.listed = append(s.listed, server)
		}
	}
	if len(s.fixed)+len(s.listed) == 0 {
		return fmt.Errorf("%s names no server by its address", s.file)
	}
	return nil
}

// current gives the servers and the search list as they are now.
func (s *dnsServers) current() ([]*dnsServer, *dns.ClientConfig) {
	s.mu.Lock()
	defer s.mu.Unlock()
	const pause = 5 * time.Second // between looks at the file, as Go's own resolver has it
	if now := time.Now(); s.file != "" && now.Sub(s.looked) > pause {
		_ = s.read(now) // what was read before stays
	}
	if len(s.fixed) > 0 {
		return s.fixed, s.conf
	}
	return s.listed, s.conf
}

// searched is the name with the search list applied.
func (s *dnsServers) searched(name string) []string {
	_, conf := s.current()
	return conf.NameList(name)
}

// ask asks the servers in turn until one gives an answer that settles something. Those that are silent are asked a
// second time, since a packet may be lost.
func (s *dnsServers) ask(ctx context.Context, name string, qtype uint16) (*dns.Msg, error) {
	var silent []*dnsServer
	var why []string
	for _, server := range s.order() {
		m, err := server.ask(ctx, name, qtype, s.timeout)
		switch {
		case err == nil:
			if err = usable(m); err == nil {
				return m, nil
			}
		case ctx.Err() == nil:
			silent = append(silent, server)
		}
		why = append(why, fmt.Sprintf("%s: %v", server.addr, err))
	}
	for _, server := range silent {
		if m, err := server.ask(ctx, name, qtype, s.timeout); err == nil && usable(m) == nil {
			return m, nil
		}
	}
	slices.Sort(why) // the order in which they are asked is not always the same, and the words should be
	return nil, errors.New(strings.Join(why, "; "))
}

// order puts servers that were silent last, so that a dead one does not cost each name its time-out.
func (s *dnsServers) order() []*dnsServer {
	all, _ := s.current()
	now := time.Now()
	var first, last []*dnsServer
	for _, server := range all {
		if server.trusted(now) {
			first = append(first, server)
		} else {
			last = append(last, server)
		}
	}
	return append(first, last...)
}

// dnsServer is one server.
type dnsServer struct {
	addr  string
	avoid atomic.Int64 // until when, in Unix nanoseconds; 0: it answered last time
}

const avoidance = 10 * time.Second // of a server that was silent

func (s *dnsServer) silent(now time.Time) { s.avoid.Store(now.Add(avoidance).UnixNano()) }

// trusted reports whether the server is to be asked in its turn. When the time of one that was silent is over, one
// caller tries it, and all others wait for what that comes to.
func (s *dnsServer) trusted(now time.Time) bool {
	until := s.avoid.Load()
	return until == 0 || until <= now.UnixNano() && s.avoid.CompareAndSwap(until, now.Add(avoidance).UnixNano())
}

// ask asks one server: by UDP, without EDNS0 if it can't read that, and by TCP if the answer doesn't fit a packet.
func (s *dnsServer) ask(ctx context.Context, name string, qtype uint16, timeout time.Duration) (*dns.Msg, error) {
	const packet = 1232 // bytes that pass every path unbroken (DNS flag day 2020)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %v", timeout))
	defer cancel()
	q := new(dns.Msg)
	q.SetQuestion(name, qtype)
	q.SetEdns0(packet, false)
	m, err := exchange(ctx, "udp", s.addr, q)
	if err == nil && m.Rcode == dns.RcodeFormatError {
		q.Extra = nil
		m, err = exchange(ctx, "udp", s.addr, q)
	}
	if err == nil && m.Truncated {
		m, err = exchange(ctx, "tcp", s.addr, q)
		if err == nil && m.Truncated {
			err = errors.New("its answer is cut off by TCP, too")
		}
	}
	if err == nil {
		s.avoid.Store(0)
		return m, nil
	}
	s.silent(time.Now())
	var errno syscall.Errno
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.As(err, &errno):
		err = errno // without the port that was ours, which is another each time
	}
	return nil, err
}

// exchange sends q and waits for its answer until ctx ends. What else comes by UDP is passed over.
func exchange(ctx context.Context, network, addr string, q *dns.Msg) (*dns.Msg, error) {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	conn := &dns.Conn{Conn: c, UDPSize: 4096} // more than asked for: some servers don't care
	if err := conn.WriteMsg(q); err != nil {
		return nil, err
	}
	for {
		m, err := conn.ReadMsg()
		if err == nil && isAnswer(m, q) {
			return m, nil
		}
		var failed net.Error
		switch {
		case errors.As(err, &failed):
			return nil, err
		case network == "tcp" && err == nil:
			return nil, errors.New("its answer is to another question")
		case network == "tcp":
			return nil, err
		}
	}
}
