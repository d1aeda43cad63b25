package lbd

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	psnet "github.com/shirou/gopsutil/v3/net"
)

// listeners are the addresses and ports at which this Nginx and lbd itself take connections. A node that claims one of
// them would make Nginx send requests to itself, or to lbd.
type listeners struct {
	status netip.AddrPort // lbd's own; zero: none
	master int
	read   time.Time
	at     []netip.AddrPort
	local  []netip.Addr // this host's own, for listeners on all addresses
}

// refresh reads Nginx's when it is another one, or when they were read long ago. Without the right to see another
// user's sockets there are none.
func (l *listeners) refresh(master int, now time.Time, every time.Duration) {
	if master == l.master && now.Sub(l.read) < every {
		return
	}
	l.master, l.read = master, now
	l.at = nil
	if master > 0 {
		l.at = listening(master)
	}
	l.local = l.local[:0]
	if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				l.local = append(l.local, p.Addr().Unmap())
			}
		}
	}
}

// check returns an error for an address and port that is one of them.
func (l *listeners) check(node netip.AddrPort) error {
	for _, own := range append([]netip.AddrPort{l.status}, l.at...) {
		if own.Port() != node.Port() {
			continue
		}
		all := own.Addr().IsUnspecified() && (node.Addr().IsLoopback() || slices.Contains(l.local, node.Addr()))
		if all || own.Addr() == node.Addr() {
			return fmt.Errorf("%s is where this Nginx or lbd itself listens", node)
		}
	}
	return nil
}

// listening returns the TCP sockets at which a process listens; nil when they can't be seen.
func listening(pid int) []netip.AddrPort {
	conns, err := psnet.ConnectionsPid("tcp", int32(pid))
	if err != nil {
		return nil
	}
	var at []netip.AddrPort
	for _, c := range conns {
		addr, err := netip.ParseAddr(c.Laddr.IP)
		if c.Status == "LISTEN" && err == nil && c.Laddr.Port <= 65535 {
			at = append(at, netip.AddrPortFrom(addr.Unmap(), uint16(c.Laddr.Port)))
		}
	}
	return at
}
