package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Kinds of events. The first four are the original system's.
const (
	NodeRegistered = "node_registered"
	NodeRemoved    = "node_removed"
	NodeFrozen     = "node_frozen"
	NodeUnfrozen   = "node_unfrozen"
	FreezeLifted   = "freeze_lifted"   // in the stream only: the operator's freeze is lifted, the node's own stays
	FreezeReplaced = "freeze_replaced" // in the stream only, as all below: an operator's freeze is another's now, or for another reason
	LBForgotten    = "lb_forgotten"    // LB says which
	CommandQueued  = "command_queued"  // Reason is the command's type
	CommandEnded   = "command_ended"   // Reason is "<type> <state>", and why
	CommandRefused = "command_refused" // thrown away without a result; Reason says why
)

// Event is what the channel carries, and the stream keeps. It is a hint: anyone who may write to Redis may publish
// one, so decide by a Snapshot.
type Event struct {
	Kind        string   `json:"event"`
	NodeID      string   `json:"node_id"`
	Timestamp   string   `json:"timestamp"` // RFC 3339, UTC, by the writer's clock
	Reason      string   `json:"reason"`
	ActiveNodes []string `json:"active_nodes,omitempty"` // left out with more than 1,000
	ActiveCount int      `json:"active_count,omitempty"`
	DataCenter  string   `json:"data_center,omitempty"`
	NodePort    int      `json:"node_port,omitempty"`
	Rev         int64    `json:"rev,omitempty"`  // 0: not one of ours; written before Redis says it
	Prev        int64    `json:"prev,omitempty"` // the revision before
	By          string   `json:"by,omitempty"`
	Command     string   `json:"command,omitempty"` // id of the command it is about
	LB          string   `json:"lb,omitempty"`      // id of the load balancer it is about
}

// eventMost bounds what is read of one message, in bytes; an event of 1,000 nodes has at most 130,000.
const eventMost = 256 << 10

// decodeEvent returns nil for what is not an event.
func decodeEvent(payload string) *Event {
	var e Event
	if len(payload) > eventMost || json.Unmarshal([]byte(payload), &e) != nil || e.Kind == "" {
		return nil
	}
	return &e
}

// Recorded is an event as the stream keeps it.
type Recorded struct {
	StreamID string    `json:"stream_id"`
	At       time.Time `json:"at"` // by Redis's clock
	Event
}

// Events returns the newest events of the stream that come after a stream id ("" for any), oldest first, at most n.
func (p *Pool) Events(ctx context.Context, after string, n int64) ([]Recorded, error) {
	stop := "-"
	if after != "" {
		stop = "(" + after
	}
	entries, err := p.rdb.XRevRangeN(ctx, p.keys.events(), "+", stop, n).Result()
	if err != nil {
		return nil, p.Explain(fmt.Errorf("read events: %w", err))
	}
	recs := make([]Recorded, len(entries))
	for i, e := range entries {
		recs[len(entries)-1-i] = decodeRecord(e)
	}
	return recs, nil
}

// followAgain is the pause before Follow asks a Redis again that did not answer.
const followAgain = time.Second

// Follow calls fn for each event written to the stream after a stream id, until ctx ends; "$" means from now on. A Redis
// that is away is waited for, and then it goes on from where it was: away, if not nil, is told once why it does not
// answer, and nil when it does again. The error is ctx's, that of the first look with "$", or one that waiting does not
// mend: a right that is missing. All calls are from this goroutine.
func (p *Pool) Follow(ctx context.Context, after string, fn func(Recorded), away func(error)) error {
	if after == "$" {
		// Redis takes "$" anew with each read, and what comes between two would be missed.
		newest, err := p.Events(ctx, "", 1)
		if err != nil {
			return err
		}
		after = "0"
		for _, r := range newest {
			after = r.StreamID
		}
	}
	gone := false
	tell := func(err error) {
		if away != nil && gone != (err != nil) {
			away(err)
		}
		gone = err != nil
	}
	for ctx.Err() == nil {
		// A short block: a cancelled context does not interrupt a command that waits.
		res, err := p.rdb.XRead(ctx, &redis.XReadArgs{Streams: []string{p.keys.events(), after}, Count: 100, Block: time.Second}).Result()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil || errors.Is(err, redis.Nil):
			tell(nil)
		case Denied(err):
			return p.Explain(fmt.Errorf("follow events: %w", err))
		default:
			tell(p.Explain(fmt.Errorf("follow events: %w", err)))
			select {
			case <-ctx.Done():
			case <-time.After(followAgain):
			}
		}
		for _, stream := range res {
			for _, e := range stream.Messages {
				after = e.ID
				fn(decodeRecord(e))
			}
		}
	}
	return ctx.Err()
}

func decodeRecord(m redis.XMessage) Recorded {
	text := func(k string) string { s, _ := m.Values[k].(string); return cut(s) }
	r := Recorded{StreamID: m.ID, Event: Event{Kind: text("event"), NodeID: text("node_id"),
		Timestamp: text("timestamp"), Reason: text("reason"), By: text("by"), Command: text("command"), LB: text("lb")}}
	var ms, seq int64
	if _, err := fmt.Sscanf(m.ID, "%d-%d", &ms, &seq); err == nil {
		r.At = time.UnixMilli(ms).UTC()
	}
	_, _ = fmt.Sscan(text("rev"), &r.Rev) // no rev is rev 0
	return r
}
