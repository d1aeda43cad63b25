package lbd

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/bazbeans/bazbeans/render"
)

// owners says whose an address and port is when several nodes claim it: of two servers at one address one would get a
// double share, and a freeze would leave the other one serving. It is, in this order: the node's that is served there;
// that was served there last; that is frozen, by an operator or itself; that registered first; else the first by id. So nobody can step
// into the place of a node that is frozen or not well.
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
		rank := func(n *fact) int64 {
			switch {
			case serving[n.ID].Addr == at:
				return -3
			case u.places[at] == n.ID:
				return -2
			case n.Freeze != nil || n.IsFrozen:
				return -1
			}
			return n.registered()
		}
		if rank(n) < rank(first) {
			owner[at] = n
		}
	}
	ids := make(map[netip.AddrPort]string, len(owner))
	for at, n := range owner {
		ids[at] = n.ID
	}
	return ids
}

// placed notes who is served where.
func (u *upstream) placed(set []render.Server) {
	if u.places == nil || len(u.places) > 1000+4*len(set) { // of nodes that are no more
		u.places = make(map[netip.AddrPort]string, len(set))
	}
	for _, s := range set {
		u.places[s.Addr] = s.ID
	}
}

// overflow names those of want that can't be in it because more than max_nodes want to: a flood of registrations must
// not take the place of nodes that work. Then nobody new gets in; of those that are or were served, and at the very
// beginning of all, those that registered first come first.
func (u *upstream) overflow(f *facts, want []render.Server) (ids []string) {
	if len(want) <= u.MaxNodes {
		return nil
	}
	since := make(map[string]int64, len(f.nodes))
	for i := range f.nodes {
		since[f.nodes[i].ID] = f.nodes[i].registered()
	}
	var in []string
	for _, s := range want {
		if len(u.places) == 0 || u.places[s.Addr] == s.ID {
			in = append(in, s.ID)
		} else {
			ids = append(ids, s.ID)
		}
	}
	if len(in) > u.MaxNodes {
		serving := u.history.newest()
		slices.SortStableFunc(in, func(a, b string) int {
			_, servesA := serving[a]
			_, servesB := serving[b]
			switch {
			case servesA && !servesB:
				return -1
			case servesB && !servesA:
				return 1
			}
			return cmp.Compare(since[a], since[b])
		})
		ids = append(ids, in[u.MaxNodes:]...)
	}
	return ids
}

// registered is the revision at which the node's agent registered, with which its instance begins; 0 for Python's, which
// leave no mark. One of ours without it says something else than our agents do: it comes last.
func (f *fact) registered() int64 {
	if f.Agent == "" {
		return 0
	}
	rev, _, _ := strings.Cut(f.Instance, "/")
	n, err := strconv.ParseInt(rev, 10, 64)
	if err != nil || n <= 0 {
		return math.MaxInt64
	}
	return n
}
