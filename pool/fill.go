package pool

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// heartbeatMost bounds how much of a heartbeat is read, in bytes; ours have about 300.
const heartbeatMost = 8 << 10

// statusFields are read of a node's hash, and textFields too where people look. Those hold what commands printed, and
// may be large.
var (
	statusFields = []string{"timestamp", "data_center", "is_frozen", "address", "port", "weight", "labels", "agent", "instance",
		"rev", "self_freeze", "left"}
	textFields = []string{"status", "details"}
)

// fill reads heartbeats and hashes of nodes in one round trip, and last whether the ack of lb ("": nobody) is missing.
func (p *Pool) fill(ctx context.Context, nodes []Node, fields []string, lb string) (bool, error) {
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
	ack := p.readAck(ctx, pipe, lb)
	_, _ = pipe.Exec(ctx) // its error is the first of theirs, and one of a wrong type is its node's fault alone
	now := time.Now()
	for i := range nodes {
		n, r := &nodes[i], reads[i]
		if err := errors.Join(r.ttl.Err(), r.beat.Err(), r.status.Err()); err != nil {
			if !ofOneCommand(err) {
				return false, err
			}
		}
		if r.beat.Err() == nil {
			n.decodeHeartbeat(r.ttl.Val(), r.beat.Val(), now)
		}
		if r.status.Err() == nil {
			n.decodeStatus(fields, r.status.Val())
		}
		n.decodeErrors(r.beat.Err(), r.status.Err())
	}
	return unacked(ack)
}

func (p *Pool) readBeat(ctx context.Context, pipe redis.Pipeliner, id string) (*redis.DurationCmd, *redis.StringCmd) {
	key := p.keys.heartbeat(id)
	return pipe.PTTL(ctx, key), pipe.GetRange(ctx, key, 0, heartbeatMost-1)
}

// unacked reads the answer to whether there is an ack: by HGET, which an lbd needs for WriteAck, too. Where Redis will not
// say, nobody knows, and it is no error: WriteAck says it better.
func unacked(ack *redis.StringCmd) (bool, error) {
	if err := ack.Err(); err != nil && !isAnswer(err) {
		return false, err
	}
	return errors.Is(ack.Err(), redis.Nil), nil
}

func (p *Pool) readAck(ctx context.Context, rdb redis.Cmdable, lb string) *redis.StringCmd {
	if lb == "" {
		return redis.NewStringResult("", nil)
	}
	return rdb.HGet(ctx, p.keys.lb(lb), "instance")
}

// ofOneCommand reports whether err is what Redis answered to one command because of the key it found.
func ofOneCommand(err error) bool {
	return redis.HasErrorPrefix(err, "WRONGTYPE") || errors.Is(err, redis.Nil)
}
