package names

import (
	"net/netip"
	"slices"
)

// Connections counts the connections from this host (its network namespace) to each of the addresses: those that are
// established, being opened, or closed by the other side only. Every address has an entry. Those of programs that run as
// other users than the given ones are left out; no user at all leaves out none.
//
// They stand for the requests under way on a node, which free Nginx does not tell. Idle connections that Nginx keeps
// are among them, for at most the keepalive_timeout of [Directives]; so are those of other programs of the same user, like
// a health checker that keeps its connection: whose a connection is only a look at all files of all of Nginx's processes
// would tell, 10,000 of them many times a second. A connection over a proxy or a unix socket is not seen.
func Connections(users []int, addrs ...netip.AddrPort) (map[netip.AddrPort]int, error) {
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
		if _, ok := plain[s.remote]; ok && (len(users) == 0 || slices.Contains(users, s.user)) {
			plain[s.remote]++
		}
	})
	for a := range counts {
		counts[a] = plain[netip.AddrPortFrom(a.Addr().Unmap(), a.Port())]
	}
	return counts, err
}
