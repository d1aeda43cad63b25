package pool

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
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
	return p.snapshot(ctx, statusFields)
}

// FullSnapshot is Snapshot with the texts for people.
func (p *Pool) FullSnapshot(ctx context.Context) (*Snapshot, error) {
	return p.snapshot(ctx, slices.Concat(statusFields, textFields))
}

func (p *Pool) snapshot(ctx context.Context, fields []string) (*Snapshot, error) {
	began := time.Now()
	pipe := p.rdb.Pipeline()
	rev := pipe.Get(ctx, p.keys.rev())
	all, active := pipe.SMembersMap(ctx, p.keys.all()), pipe.SMembersMap(ctx, p.keys.active())
	frozen := pipe.HGetAll(ctx, p.keys.frozen())
	_, _ = pipe.Exec(ctx) // its error is the first of theirs, and may hide a worse one
	if err := firstError(rev.Err(), all.Err(), active.Err(), frozen.Err()); err != nil {
		return nil, p.Explain(err)
	}
	s := &Snapshot{}
	s.Rev, _ = strconv.ParseInt(rev.Val(), 10, 64)

	ids := make(map[string]bool, len(all.Val()))
	for id := range all.Val() {
		ids[id] = true
	}
	for id := range active.Val() {
		ids[id] = true
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if err := CheckID(id); err != nil {
			s.Refused = append(s.Refused, Refusal{ID: cut(id), Why: err.Error()})
			continue
		}
		_, in := all.Val()[id]
		_, on := active.Val()[id]
		s.Nodes = append(s.Nodes, Node{ID: id, Registered: in, Active: on, Freeze: decodeFreeze(frozen.Val(), id)})
	}
	if err := p.fill(ctx, s.Nodes, fields); err != nil {
		return nil, p.Explain(err)
	}
	s.Taken = time.Now()
	s.Took = s.Taken.Sub(began)
	return s, nil
}

// Node looks at one node. The error is ErrNoSuchNode when it is neither registered nor active.
func (p *Pool) Node(ctx context.Context, id string) (*Node, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	pipe := p.rdb.Pipeline()
	all, active := pipe.SIsMember(ctx, p.keys.all(), id), pipe.SIsMember(ctx, p.keys.active(), id)
	frozen := pipe.HGet(ctx, p.keys.frozen(), id)
	_, _ = pipe.Exec(ctx) // its error is the first of theirs, and may hide a worse one
	if err := firstError(all.Err(), active.Err(), frozen.Err()); err != nil {
		return nil, p.Explain(err)
	}
	if !all.Val() && !active.Val() {
		return nil, noSuch(id)
	}
	n := Node{ID: id, Registered: all.Val(), Active: active.Val()}
	if frozen.Err() == nil {
		n.Freeze = decodeFreeze(map[string]string{id: frozen.Val()}, id)
	}
	nodes := []Node{n}
	if err := p.fill(ctx, nodes, slices.Concat(statusFields, textFields)); err != nil {
		return nil, p.Explain(err)
	}
	return &nodes[0], nil
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
		reads[i] = read{
			pipe.PTTL(ctx, p.keys.heartbeat(id)),
			pipe.GetRange(ctx, p.keys.heartbeat(id), 0, heartbeatMost-1),
			pipe.HMGet(ctx, p.keys.status(id), fields...),
		}
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
			n.Fault = "its keys in Redis are of a wrong type: " + err.Error()
			continue
		}
		n.decodeHeartbeat(r.ttl.Val(), r.beat.Val(), now)
		n.decodeStatus(fields, r.status.Val())
	}
	return nil
}

// ofOneCommand reports whether err is what Redis answered to one command because of the key it found.
func ofOneCommand(err error) bool {
	return redis.HasErrorPrefix(err, "WRONGTYPE") || errors.Is(err, redis.Nil)
}

// NodeIPs returns what bazbeans:node_ips says of ids, as found there, in one round trip. An id without an entry is
// not in the map.
func (p *Pool) NodeIPs(ctx context.Context, ids []string) (map[string]string, error) {
	found := make(map[string]string, len(ids))
	if len(ids) == 0 {
		return found, nil
	}
	// Chunks in one pipeline, so that no single command runs long.
	const chunk = 1000
	pipe := p.rdb.Pipeline()
	var cmds []*redis.SliceCmd
	for part := range slices.Chunk(ids, chunk) {
		cmds = append(cmds, pipe.HMGet(ctx, p.keys.nodeIPs(), part...))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, p.Explain(err)
	}
	for i, cmd := range cmds {
		for j, v := range cmd.Val() {
			if text, ok := v.(string); ok {
				found[ids[i*chunk+j]] = text
			}
		}
	}
	return found, nil
}
