package lbd

import (
	"net/netip"
	"strconv"
	"strings"
)

// owners says whose an address and port is when several nodes claim it: of two servers at one address one would get a
// double share, and a freeze would leave the other one serving. It is the node's that is served there; else the one
// that registered first (a Python node leaves no mark of that and counts as first), else the first by id. A frozen node
// keeps what is its own, so that nobody can step into its place.
func (u *upstream) owners(f *facts) map[netip.AddrPort]string {
	serving := u.history.newest()
	owner := map[netip.AddrPort]*fact{}
	for i := range f.nodes { // sorted by id
		n := &f.nodes[i]
		port, err := u.port(n)
		if !n.where.Found() || err != nil || !u.Select.matches(&n.Node) {
			continue
		}
		at := netip.AddrPortFrom(n.where.Addr, port)
		first := owner[at]
		if first == nil {
			owner[at] = n
			continue
		}
		if is, was := serving[n.ID].Addr == at, serving[first.ID].Addr == at; is != was {
			if is {
				owner[at] = n
			}
		} else if n.registered() < first.registered() {
			owner[at] = n
		}
	}
	ids := make(map[netip.AddrPort]string, len(owner))
	for at, n := range owner {
		ids[at] = n.ID
	}
	return ids
}

// registered is the revision at which the node's agent registered, with which its instance begins; 0 for Python's.
func (f *fact) registered() int64 {
	rev, _, _ := strings.Cut(f.Instance, "/")
	n, _ := strconv.ParseInt(rev, 10, 64)
	return n
}
