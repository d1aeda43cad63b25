package nginx

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/bazbeans/bazbeans/ngxconf"
)

// Listens returns the addresses and ports at which the configuration on disk has Nginx take connections, for where its
// sockets can't be seen; the unspecified address stands for all. Host names other than localhost are left out: whose they
// are only Nginx's own look-up can tell. An error says which file could not be read, and so what may be missing.
func (n *Nginx) Listens(ctx context.Context) (at []netip.AddrPort, err error) {
	s, err := n.setup(ctx)
	if err != nil {
		return nil, err
	}
	t := walk(s.conf, nil)
	if t.broken != nil {
		return nil, fmt.Errorf("read %s: %w", t.broken.name, t.broken.err)
	}
	var each func([]ngxconf.Statement)
	each = func(list []ngxconf.Statement) {
		for i := range list {
			st := &list[i]
			each(st.Block)
			switch {
			case st.Name() == "listen" && len(st.Words) > 1:
				at = append(at, listenAt(st.Words[1].Text)...)
			case st.Name() == "server" && st.HasBlock && !names(st.Block, "listen", "include"):
				at = append(at, listenAt("80")...) // Nginx's default
			}
		}
	}
	for _, s := range t.sources {
		each(s.stmts)
	}
	return at, nil
}

// names tells whether one of the statements has one of the names.
func names(list []ngxconf.Statement, these ...string) bool {
	for i := range list {
		for _, name := range these {
			if list[i].Name() == name {
				return true
			}
		}
	}
	return false
}

// listenAt reads the first argument of a listen directive: an address, a port or a range of ports, or both.
func listenAt(text string) (at []netip.AddrPort) {
	if strings.HasPrefix(text, "unix:") {
		return nil
	}
	host, ports := text, "80"
	if i := strings.LastIndexByte(text, ':'); i >= 0 && !strings.HasSuffix(text, "]") {
		host, ports = text[:i], text[i+1:]
	} else if strings.Trim(text, "0123456789-") == "" {
		host, ports = "*", text
	}
	var addrs []netip.Addr
	switch host = strings.Trim(host, "[]"); host {
	case "*":
		addrs = []netip.Addr{netip.IPv4Unspecified()}
	case "localhost":
		addrs = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	default:
		addr, err := netip.ParseAddr(host)
		if err != nil {
			return nil
		}
		addrs = []netip.Addr{addr.Unmap()}
	}
	low, high, ranged := strings.Cut(ports, "-")
	if !ranged {
		high = low
	}
	first, err1 := strconv.ParseUint(low, 10, 16)
	last, err2 := strconv.ParseUint(high, 10, 16)
	if err1 != nil || err2 != nil {
		return nil
	}
	for _, addr := range addrs {
		for port := first; port <= last; port++ {
			at = append(at, netip.AddrPortFrom(addr, uint16(port)))
		}
	}
	return at
}
