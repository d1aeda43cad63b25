package pool

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// UnfrozenError ends a wait for nodes to drain of which some get traffic again: somebody has unfrozen them, or Redis has
// lost their freeze.
type UnfrozenError struct {
	By map[string]string // who did it, by node: free text, "" when that is not known
	// Drained: the others are.
	Drained bool
}

// IDs are the nodes that get traffic again, sorted.
func (e *UnfrozenError) IDs() []string { return slices.Sorted(maps.Keys(e.By)) }

func (e *UnfrozenError) Error() string {
	var words []string
	for _, id := range e.IDs() {
		if by := e.By[id]; by != "" {
			words = append(words, fmt.Sprintf("%s was unfrozen meanwhile (by %s)", id, by))
		} else {
			words = append(words, id+" gets traffic again: its freeze is gone")
		}
	}
	return strings.Join(words, ", ")
}

// stillOut looks whether nodes that load balancers have let go of, as of revision rev, are still to get no traffic; the
// error is an *UnfrozenError if not, and another when Redis does not know them all and nobody has forgotten the others.
// newest is the revision of the last change to any of them: one that was back in between is out since then only.
func (p *Pool) stillOut(ctx context.Context, rev int64, ids []string) (newest int64, err error) {
	nodes, err := p.some(ctx, ids, statusFields)
	if err != nil {
		return 0, err
	}
	if len(nodes) < len(ids) { // load balancers may be lost as well, and they can't be missed
		gone := slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
			return slices.ContainsFunc(nodes, func(n Node) bool { return n.ID == id })
		})
		if newest = p.forgotten(ctx, rev, gone); newest == 0 {
			return 0, fmt.Errorf("it does not know %s any more: redis has lost its data, or the event that says who forgot it can't be read", strings.Join(gone, ", "))
		}
	}
	var back []string
	for i := range nodes {
		if n := &nodes[i]; n.Wanted() {
			back = append(back, n.ID)
		} else {
			newest = max(newest, n.Rev)
		}
	}
	if len(back) == 0 || newest > rev {
		return newest, nil
	}
	return newest, &UnfrozenError{By: p.whoUnfroze(ctx, rev, back)}
}

// lately returns the newest events, as far as this user may read them: what is asked of them was just now.
func (p *Pool) lately(ctx context.Context) []Recorded {
	recs, _ := p.Events(ctx, "", 1000)
	return recs
}

// forgotten returns the revision at which the last of ids was forgotten, since a revision; 0 when not all of them were, or
// when events of that revision are lost: then load balancers may be lost as well.
func (p *Pool) forgotten(ctx context.Context, since int64, ids []string) (newest int64) {
	at := map[string]int64{}
	whole := false
	for _, r := range p.lately(ctx) {
		whole = whole || r.Rev > 0 && r.Rev <= since
		if r.Kind == NodeRemoved && r.Rev >= since {
			at[r.NodeID] = r.Rev
		}
	}
	for _, id := range ids {
		if at[id] == 0 || !whole {
			return 0
		}
		newest = max(newest, at[id])
	}
	return newest
}

// whoUnfroze looks into the events since a revision: it is for people only.
func (p *Pool) whoUnfroze(ctx context.Context, since int64, ids []string) map[string]string {
	by := map[string]string{}
	for _, id := range ids {
		by[id] = ""
	}
	for _, r := range p.lately(ctx) {
		if _, asked := by[r.NodeID]; asked && r.Kind == NodeUnfrozen && r.Rev > since {
			by[r.NodeID] = r.By
		}
	}
	return by
}
