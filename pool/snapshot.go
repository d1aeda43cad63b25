package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Snapshot is one look at the whole pool.
type Snapshot struct {
	Rev     int64     // read before all else: the nodes are at least as new as it says
	Taken   time.Time // when the look ended, by our clock
	Took    time.Duration
	Nodes   []Node // sorted by id
	Refused []Refusal
}

// Refusal is an entry that is refused, and why: in a Snapshot one that is no node at all, since its id is not allowed.
type Refusal struct {
	ID  string `json:"id"` // as found, cut to 256 bytes; hostile text, print it only escaped
	Why string `json:"why"`
}

// heartbeatMost bounds how much of a heartbeat is read, in bytes; ours have about 300.
const heartbeatMost = 8 << 10

// statusFields are read of a node's hash, and textFields too where people look. Those hold what commands printed, and
// may be large.
var (
	statusFields = []string{"timestamp", "data_center", "is_frozen", "address", "port", "weight", "labels", "agent", "instance",
		"rev", "self_freeze", "left"}
	textFields = []string{"status", "details"}
)

// Snapshot looks at the pool in two round trips, whatever its size: the sets, then all nodes in one pipeline. Each
// command in it is short, so Redis goes on serving others between them; one script over all nodes would not.
// Status and Details of the nodes are left empty; see FullSnapshot.
func (p *Pool) Snapshot(ctx context.Context) (*Snapshot, error) {
	return p.snapshot(ctx, statusFields, nil)
}

// SnapshotFirst is Snapshot for somebody who knows nodes already: where there are more entries than a look takes in, those of
// the first ids are taken before all others, in this order.
func (p *Pool) SnapshotFirst(ctx context.Context, first []string) (*Snapshot, error) {
	return p.snapshot(ctx, statusFields, first)
}

// FullSnapshot is Snapshot with the texts for people.
func (p *Pool) FullSnapshot(ctx context.Context) (*Snapshot, error) {
	return p.snapshot(ctx, slices.Concat(statusFields, textFields), nil)
}

func (p *Pool) snapshot(ctx context.Context, fields, first []string) (*Snapshot, error) {
	began := time.Now()
	s, err := within(ctx, func() (*Snapshot, error) {
		return quickly(p, func() (*Snapshot, error) { return p.look(ctx, p.sets, p.fill, fields, first) },
			func() (*Snapshot, error) { return p.look(ctx, p.carefulSets, p.carefulFill, fields, first) })
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
	fill func(context.Context, []Node, []string) error, fields, first []string) (*Snapshot, error) {
	found, err := read(ctx)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{}
	s.Rev, _ = strconv.ParseInt(found.rev, 10, 64)
	s.Nodes, s.Refused = found.nodes(p.keys, first)
	if err := fill(ctx, s.Nodes, fields); err != nil {
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

// Node looks at one node. The error is ErrNoSuchNode when it is neither registered nor active.
func (p *Pool) Node(ctx context.Context, id string) (*Node, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	nodes, err := p.some(ctx, []string{id}, slices.Concat(statusFields, textFields))
	if err != nil {
		return nil, err
	}
	if len(nodes) == 0 {
		return nil, noSuch(id)
	}
	return &nodes[0], nil
}

// some looks at nodes in two round trips, in the order of ids; those that are neither registered nor active are left out.
func (p *Pool) some(ctx context.Context, ids, fields []string) ([]Node, error) {
	nodes, err := within(ctx, func() ([]Node, error) {
		return quickly(p, func() ([]Node, error) { return p.lookAt(ctx, ids, p.fill, fields, true) },
			func() ([]Node, error) { return p.lookAt(ctx, ids, p.carefulFill, fields, false) })
	})
	if err != nil {
		return nil, p.Explain(err)
	}
	return nodes, nil
}

func (p *Pool) lookAt(ctx context.Context, ids []string, fill func(context.Context, []Node, []string) error, fields []string, freeze bool) ([]Node, error) {
	type read struct {
		all, active *redis.BoolCmd
		frozen      *redis.StringCmd
	}
	reads := make([]read, len(ids))
	pipe := p.rdb.Pipeline()
	for i, id := range ids {
		reads[i] = read{pipe.SIsMember(ctx, p.keys.all(), id), pipe.SIsMember(ctx, p.keys.active(), id), redis.NewStringResult("", redis.Nil)}
		if freeze {
			reads[i].frozen = pipe.HGet(ctx, p.keys.frozen(), id)
		}
	}
	_, _ = pipe.Exec(ctx) // its error is the first of theirs, and may hide a worse one
	var nodes []Node
	for i, r := range reads {
		if err := firstError(r.all.Err(), r.active.Err(), r.frozen.Err()); err != nil {
			return nil, err
		}
		if !r.all.Val() && !r.active.Val() {
			continue
		}
		n := Node{ID: ids[i], Registered: r.all.Val(), Active: r.active.Val()}
		if r.frozen.Err() == nil {
			n.Freeze = decodeFreeze(map[string]string{n.ID: r.frozen.Val()}, n.ID)
		}
		nodes = append(nodes, n)
	}
	return nodes, fill(ctx, nodes, fields)
}

// firstError returns the first error that is not "no such key".
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
	}
	return nil
}

// fill reads heartbeats and hashes of nodes in one round trip.
func (p *Pool) fill(ctx context.Context, nodes []Node, fields []string) error {
	if len(nodes) == 0 {
		return nil
	}
	type read struct {
		ttl    *redis.DurationCmd
		beat   *redis.StringCmd
		status *redis.SliceCmd
	}
	reads := make([]read, len(nodes))
	pipe := p.rdb.Pipeline()
	for i := range nodes {
		id := nodes[i].ID
		reads[i].ttl, reads[i].beat = p.readBeat(ctx, pipe, id)
		reads[i].status = pipe.HMGet(ctx, p.keys.status(id), fields...)
	}
	// A key of a wrong type is that node's fault; Exec returns the first error of any command, so look at each.
	if _, err := pipe.Exec(ctx); err != nil && !ofOneCommand(err) {
		return err
	}
	now := time.Now()
	for i := range nodes {
		n, r := &nodes[i], reads[i]
		if err := errors.Join(r.ttl.Err(), r.beat.Err(), r.status.Err()); err != nil {
			if !ofOneCommand(err) {
				return err
			}
			n.Fault = wrongType(err.Error())
			continue
		}
		n.decodeHeartbeat(r.ttl.Val(), r.beat.Val(), now)
		n.decodeStatus(fields, r.status.Val())
	}
	return nil
}

func (p *Pool) readBeat(ctx context.Context, pipe redis.Pipeliner, id string) (*redis.DurationCmd, *redis.StringCmd) {
	key := p.keys.heartbeat(id)
	return pipe.PTTL(ctx, key), pipe.GetRange(ctx, key, 0, heartbeatMost-1)
}

func wrongType(said string) string { return "its keys in Redis are of a wrong type: " + said }

// ofOneCommand reports whether err is what Redis answered to one command because of the key it found.
func ofOneCommand(err error) bool {
	return redis.HasErrorPrefix(err, "WRONGTYPE") || errors.Is(err, redis.Nil)
}

// NodeIPs returns what bazbeans:node_ips says of ids, as found there, in one round trip. An id without an entry is
// not in the map.
func (p *Pool) NodeIPs(ctx context.Context, ids []string) (map[string]string, error) {
	if len(ids) == 0 {
		return map[string]string{}, nil
	}
	found, err := within(ctx, func() (map[string]string, error) {
		return quickly(p, func() (map[string]string, error) { return p.nodeIPs(ctx, ids) },
			func() (map[string]string, error) { return p.carefulIPs(ctx, ids) })
	})
	if err != nil {
		return nil, p.Explain(err)
	}
	return found, nil
}

func (p *Pool) nodeIPs(ctx context.Context, ids []string) (map[string]string, error) {
	pipe := p.rdb.Pipeline()
	var cmds []*redis.SliceCmd
	for part := range slices.Chunk(ids, fieldsOnce) { // in chunks, so that no single command runs long
		cmds = append(cmds, pipe.HMGet(ctx, p.keys.nodeIPs(), part...))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	var values []any
	for _, cmd := range cmds {
		values = append(values, cmd.Val()...)
	}
	return texts(ids, values), nil
}

// texts pairs names with the values of an HMGET; a missing one is not in the map.
func texts(names []string, values []any) map[string]string {
	found := make(map[string]string, len(names))
	for i, v := range values {
		if text, ok := v.(string); ok {
			found[names[i]] = text
		}
	}
	return found
}
