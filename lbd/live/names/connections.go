package names

import "net/netip"

// Connections counts the connections from this host (its network namespace) to each of the addresses: those that are
// established, being opened, or closed by the other side only. Every address has an entry.
//
// They stand for the requests under way on a node, which free Nginx does not tell. Idle connections that Nginx keeps
// are among them, for at most the keepalive_timeout of [Directives]; so are those of other programs on this host, like
// a health checker that keeps its connection. A connection over a proxy or a unix socket is not seen.
func Connections(addrs ...netip.AddrPort) (map[netip.AddrPort]int, error) {
	counts := make(map[netip.AddrPort]int, len(addrs))
	for _, a := range addrs {
		counts[a] = 0
	}
	// What is asked for may be an IPv4 address in IPv6 clothes; the tables are read without them.
	plain := make(map[netip.AddrPort]int, len(addrs))
	for _, a := range addrs {
		plain[netip.AddrPortFrom(a.Addr().Unmap(), a.Port())] = 0
	}
	err := connections(func(s socket) {
		if _, ok := plain[s.remote]; ok {
			plain[s.remote]++
		}
	})
	for a := range counts {
		counts[a] = plain[netip.AddrPortFrom(a.Addr().Unmap(), a.Port())]
	}
	return counts, err
}
