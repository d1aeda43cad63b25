package lbd

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/bazbeans/bazbeans/render"
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

// overflow names those of want that are more than max_nodes: a flood of registrations must not take the place of nodes
// that work. Those that are served already stay; of the others, those that registered first come first.
func (u *upstream) overflow(f *facts, want []render.Server) (ids []string) {
	if len(want) <= u.MaxNodes {
		return nil
	}
	serving := u.history.newest()
	since := make(map[string]int64, len(f.nodes))
	for i := range f.nodes {
		since[f.nodes[i].ID] = f.nodes[i].registered()
	}
	for _, s := range want {
		ids = append(ids, s.ID)
	}
	slices.SortStableFunc(ids, func(a, b string) int {
		_, servesA := serving[a]
		_, servesB := serving[b]
		switch {
		case servesA != servesB && servesA:
			return -1
		case servesA != servesB:
			return 1
		}
		return cmp.Compare(since[a], since[b])
	})
	return ids[u.MaxNodes:]
}

// registered is the revision at which the node's agent registered, with which its instance begins; 0 for Python's.
func (f *fact) registered() int64 {
	rev, _, _ := strings.Cut(f.Instance, "/")
	n, _ := strconv.ParseInt(rev, 10, 64)
	return n
}
