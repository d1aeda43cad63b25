package lbd

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	psnet "github.com/shirou/gopsutil/v3/net"
)

// listeners are the addresses and ports at which this Nginx and lbd itself take connections. A node that claims one of
// them would make Nginx send requests to itself, or to lbd.
type listeners struct {
	ours    []netip.AddrPort // lbd's own, and nginx.proof's also where Nginx's can't be seen
	master  atomic.Int64     // process id; 0: not running
	another chan struct{}    // of one: Nginx is another one
	seen    atomic.Pointer[map[netip.AddrPort]bool]
}

const listenersAgain = time.Minute // Nginx may have been told of other ones

// watch reads Nginx's listeners when it is another one, and now and then, until ctx ends. It has a goroutine of its
// own, since a look takes some 50 ms where there are many connections. Without the right to see another user's sockets
// there are none.
func (l *listeners) watch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.another:
		case <-time.After(listenersAgain):
		}
		l.look(int(l.master.Load()))
	}
}

// is says which process is Nginx's master.
func (l *listeners) is(master int) {
	l.master.Store(int64(master))
	select {
	case l.another <- struct{}{}:
	default: // it is to look already
	}
}

func (l *listeners) look(master int) {
	if master <= 0 {
		return
	}
	sockets, err := listening(master)
	if err != nil {
		return // what was seen last will do
	}
	at := map[netip.AddrPort]bool{}
	for _, a := range sockets {
		for _, a := range everywhere(a) {
			at[a] = true
		}
	}
	l.seen.Store(&at)
}

// add notes a listener of ours; call it before the loop runs.
func (l *listeners) add(a netip.AddrPort) { l.ours = append(l.ours, everywhere(a)...) }

// everywhere is a, and if that is all addresses of this host also each of them.
func everywhere(a netip.AddrPort) []netip.AddrPort {
	at := []netip.AddrPort{a}
	if a.Addr().IsUnspecified() {
		for _, local := range localAddrs() {
			at = append(at, netip.AddrPortFrom(local, a.Port()))
		}
	}
	return at
}

func localAddrs() (local []netip.Addr) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			local = append(local, p.Addr().Unmap())
		}
	}
	return local
}

// check returns an error for an address and port that is one of them.
func (l *listeners) check(node netip.AddrPort) error {
	is := func(a netip.AddrPort) bool {
		seen := l.seen.Load()
		return slices.Contains(l.ours, a) || seen != nil && (*seen)[a]
	}
	// A listener on all addresses has all of loopback, too.
	loopback := node.Addr().IsLoopback() &&
		(is(netip.AddrPortFrom(netip.IPv4Unspecified(), node.Port())) || is(netip.AddrPortFrom(netip.IPv6Unspecified(), node.Port())))
	if loopback || is(node) {
		return fmt.Errorf("%s is where this Nginx or lbd itself listens", node)
	}
	return nil
}

// listening returns the TCP sockets at which a process listens.
func listening(pid int) (at []netip.AddrPort, err error) {
	conns, err := psnet.ConnectionsPid("tcp", int32(pid))
	if err != nil {
		return nil, err
	}
	for _, c := range conns {
		addr, err := netip.ParseAddr(c.Laddr.IP)
		if c.Status == "LISTEN" && err == nil && c.Laddr.Port <= 65535 {
			at = append(at, netip.AddrPortFrom(addr.Unmap(), uint16(c.Laddr.Port)))
		}
	}
	return at, nil
}
