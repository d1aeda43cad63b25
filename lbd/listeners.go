package lbd

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
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
	// configured reads Nginx's listeners off its configuration, for where its sockets can't be seen.
	configured func(context.Context) ([]netip.AddrPort, error)
	unknown    func(error) // is told why they are not known; nil: they are
	unseen     sync.Once
	sayUnseen  func() // is told once that a running Nginx's sockets can't be seen
	said       string // what was said of that last
}

const listenersAgain = time.Minute // Nginx may have been told of other ones

// watch reads Nginx's listeners when it is another one, and now and then, until ctx ends. It has a goroutine of its
// own, since a look takes some 50 ms where there are many connections.
func (l *listeners) watch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.another:
		case <-time.After(listenersAgain):
		}
		l.look(ctx, int(l.master.Load()))
	}
}

// seeListeners looks where Nginx takes connections, before the first plan.
func (l *LB) seeListeners(ctx context.Context) {
	state, _ := l.engine.State(ctx) // what can't be seen has no master
	l.own.look(ctx, state.Master)
}

// sayUnseen says that lbd goes by less than it could.
func (l *LB) sayUnseen() {
	l.log.Info("the sockets at which nginx listens can't be seen: they are read off its configuration")
}

// blindToListeners says once, and not again for the same reason, that nodes may claim Nginx's own listeners.
func (l *LB) blindToListeners(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if was := l.own.said; was != text && err != nil {
		l.log.Warn("it is not known where nginx listens: a node that claims such an address is not refused", "error", err)
	}
	l.own.said = text
}

// is says which process is Nginx's master.
func (l *listeners) is(master int) {
	l.master.Store(int64(master))
	select {
	case l.another <- struct{}{}:
	default: // it is to look already
	}
}

// look reads the sockets of a master, or Nginx's configuration where they can't be seen: in another PID namespace, without
// the right to look at root's processes, or while Nginx is not running.
func (l *listeners) look(ctx context.Context, master int) {
	sockets, err := listening(master)
	if err != nil || len(sockets) == 0 {
		if master > 0 {
			l.unseen.Do(l.sayUnseen)
		}
		sockets, err = l.configured(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	if l.unknown(err); err != nil {
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

// addText notes a listener of ours as it is written in the config: nothing that is no IP address is a node's.
func (l *listeners) addText(text string) {
	if port, all := strings.CutPrefix(text, ":"); all {
		text = "[::]:" + port
	}
	if a, err := netip.ParseAddrPort(text); err == nil {
		l.add(a)
	}
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

// listening returns the TCP sockets at which a process listens; none for a pid that is none.
func listening(pid int) (at []netip.AddrPort, err error) {
	if pid <= 0 {
		return nil, nil
	}
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
