package pool

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Snapshot is one look at the whole pool.
type Snapshot struct {
	Rev     int64     // read before all else: the nodes are at least as new as it says
	Taken   time.Time // when the look ended, by our clock
	Took    time.Duration
	Nodes   []Node // sorted by id
	Refused []Refusal
	Unacked bool // when the look ended Redis had no ack of the load balancer that looks; see SnapshotFor
}

// Refusal is an entry that is refused, and why: in a Snapshot one that is no node at all, since its id is not allowed.
type Refusal struct {
	ID  string `json:"id"` // as found, cut to 256 bytes; hostile text, print it only escaped
	Why string `json:"why"`
}

// Snapshot looks at the pool in two round trips, whatever its size: the sets, then all nodes in one pipeline. Each
// command in it is short, so Redis goes on serving others between them; one script over all nodes would not.
// Status and Details of the nodes are left empty; see FullSnapshot.
func (p *Pool) Snapshot(ctx context.Context) (*Snapshot, error) {
	return p.snapshot(ctx, statusFields, "", nil)
}

// SnapshotFor is Snapshot for the load balancer lb, who knows nodes already: where there are more entries than a look takes
// in, those of the first ids are taken before all others, in this order. Its own ack is looked for last: if one was written
// and the look is Unacked, any of it may be of a Redis that has lost its data.
func (p *Pool) SnapshotFor(ctx context.Context, lb string, first []string) (*Snapshot, error) {
	return p.snapshot(ctx, statusFields, lb, first)
}

// FullSnapshot is Snapshot with the texts for people.
func (p *Pool) FullSnapshot(ctx context.Context) (*Snapshot, error) {
	return p.snapshot(ctx, slices.Concat(statusFields, textFields), "", nil)
}

func (p *Pool) snapshot(ctx context.Context, fields []string, lb string, first []string) (*Snapshot, error) {
	began := time.Now()
	s, err := within(ctx, func() (*Snapshot, error) {
		return quickly(p, func() (*Snapshot, error) { return p.look(ctx, p.sets, p.fill, fields, lb, first) },
			func() (*Snapshot, error) { return p.look(ctx, p.carefulSets, p.carefulFill, fields, lb, first) })
	})
	if err != nil {
		return nil, p.Explain(err)
	}
	s.Taken = time.Now()
	s.Took = s.Taken.Sub(began)
	return s, nil
}

// sets is the first part of a look.
type sets struct {
	rev         string
	all, active []string
	frozen      map[string]string // when this part of the look reads it
	refused     []Refusal
}

func (p *Pool) sets(ctx context.Context) (*sets, error) {
	pipe := p.rdb.Pipeline()
	rev := pipe.Get(ctx, p.keys.rev())
	all, active := pipe.SMembers(ctx, p.keys.all()), pipe.SMembers(ctx, p.keys.active())
	frozen := pipe.HGetAll(ctx, p.keys.frozen())
	_, _ = pipe.Exec(ctx) // its error is the first of theirs, and may hide a worse one
	if err := firstError(rev.Err(), all.Err(), active.Err(), frozen.Err()); err != nil {
		return nil, err
	}
	return &sets{rev: rev.Val(), all: all.Val(), active: active.Val(), frozen: frozen.Val()}, nil
}

// look is one look: the sets, then the nodes in them.
func (p *Pool) look(ctx context.Context, read func(context.Context) (*sets, error),
	fill func(context.Context, []Node, []string, string) (bool, error), fields []string, lb string, first []string) (*Snapshot, error) {
	found, err := read(ctx)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{}
	s.Rev, _ = strconv.ParseInt(found.rev, 10, 64)
	s.Nodes, s.Refused = found.nodes(p.keys, first)
	if s.Unacked, err = fill(ctx, s.Nodes, fields, lb); err != nil {
		return nil, err
	}
	return s, nil
}

// What one look takes in, so that a flood of entries costs it no more than that. After those that the caller names come
// active nodes, then ids in their order: the same at each look.
const (
	nodesMost   = 20_000
	refusedMost = 1_000
)

// nodes makes nodes of the ids, sorted, and lists what is no node.
func (f *sets) nodes(k Keys, first []string) (nodes []Node, refused []Refusal) {
	refused = f.refused
	known := make(map[string]int, len(f.all)) // where it stands in nodes; -1: refused
	left := 0
	add := func(id string) *Node {
		i, ok := known[id]
		if !ok {
			if err := CheckID(id); err != nil {
				refused, i = append(refused, Refusal{ID: cut(id), Why: err.Error()}), -1
			} else if len(nodes) == nodesMost {
				left, i = left+1, -1
			} else {
				nodes, i = append(nodes, Node{ID: id, Freeze: decodeFreeze(f.frozen, id)}), len(nodes)
			}
			known[id] = i
		}
		if i < 0 {
			return nil
		}
		return &nodes[i]
	}
	slices.Sort(f.active)
	slices.Sort(f.all)
	if len(f.active)+len(f.all) > nodesMost {
		for _, id := range first {
			_, active := slices.BinarySearch(f.active, id)
			if _, registered := slices.BinarySearch(f.all, id); active || registered {
				add(id)
			}
		}
	}
	for _, id := range f.active {
		if n := add(id); n != nil {
			n.Active = true
		}
	}
	for _, id := range f.all {
		if n := add(id); n != nil {
			n.Registered = true
		}
	}
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(refused, func(a, b Refusal) int { return strings.Compare(a.ID, b.ID) })
	if more := len(refused) - refusedMost; more > 0 {
		refused = append(refused[:refusedMost], Refusal{ID: k.all(), Why: fmt.Sprintf("%d more entries are no node ids", more)})
	}
	if left > 0 {
		refused = append(refused, Refusal{ID: k.all(), Why: fmt.Sprintf("%d more entries are not read: %d nodes at most", left, nodesMost)})
	}
	return nodes, refused
}
