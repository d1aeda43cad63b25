package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

var (
	freezeScript   = script("freeze.lua")
	unfreezeScript = script("unfreeze.lua")
	cleanupScript  = script("cleanup.lua")
	forgetScript   = script("forget.lua")
)

// Change is what an operator's call came to.
type Change struct {
	ID      string
	Changed bool  // false: it was so already
	Rev     int64 // the revision that holds the change; a load balancer that serves it or a later one knows of it
	// Own is the reason for which the node froze itself, when an unfreeze left that in place; "" otherwise.
	Own string
}

// OthersFreezeError says that a run left a node alone: an operator's freeze that is none of its own is on it, and stays.
type OthersFreezeError struct {
	ID     string
	Freeze Freeze
}

func (e *OthersFreezeError) Error() string {
	why := ""
	if e.Freeze.Reason != "" {
		why = ": " + e.Freeze.Reason
	}
	return fmt.Sprintf("node %s is frozen by %s%s", e.ID, e.Freeze.By, why)
}

func noSuch(id string) error {
	return fmt.Errorf("node %s: %w", shown(id), ErrNoSuchNode)
}

// Freeze takes the node out of traffic until an operator's Unfreeze, whatever its agent says. by names the operator.
// The error is ErrNoSuchNode for a node that never registered.
// Commands about freezing that wait in the node's queue are older words: they are removed. Freezing a frozen node
// without a reason keeps the reason it has.
func (p *Pool) Freeze(ctx context.Context, id, by, reason string) (Change, error) {
	return p.freeze(ctx, id, by, reason, "0", "")
}

// FreezeQueued is Freeze for an agent that carries out a command taken from its queue: what waits there is newer, and
// stays.
func (p *Pool) FreezeQueued(ctx context.Context, id, by, reason string) (Change, error) {
	return p.freeze(ctx, id, by, reason, "1", "")
}

// FreezeRun is Freeze for a run of several steps, such as a rolling update. It replaces only a freeze whose reason begins
// with prefix, which must not be empty; with another operator's it does nothing, and the error is *OthersFreezeError.
func (p *Pool) FreezeRun(ctx context.Context, id, by, reason, prefix string) (Change, error) {
	return p.freeze(ctx, id, by, reason, "0", prefix)
}

func (p *Pool) freeze(ctx context.Context, id, by, reason, queued, prefix string) (Change, error) {
	if err := CheckID(id); err != nil {
		return Change{}, err
	}
	rfc, unix := stamp()
	by, reason = cut(by), cut(reason)
	record, err := json.Marshal(Freeze{By: by, At: rfc, Reason: reason})
	if err != nil {
		return Change{}, fmt.Errorf("encode freeze: %w", err)
	}
	k := p.keys
	r, err := p.runOnce(ctx, "freeze", freezeScript,
		[]string{k.all(), k.active(), k.frozen(), k.status(id), k.rev(), k.events(), k.commands(id), k.taken(id)},
		id, p.channel, rfc, unix, by, reason, string(record), queued, prefix)
	return p.change(id, r, err)
}

// Unfreeze lifts an operator's freeze, and any freeze of a Python node. A freeze that an agent of ours put on itself
// stays: Change.Own then says why.
func (p *Pool) Unfreeze(ctx context.Context, id, by string) (Change, error) {
	return p.unfreeze(ctx, id, by, "0", "")
}

// UnfreezeQueued is to Unfreeze what FreezeQueued is to Freeze.
func (p *Pool) UnfreezeQueued(ctx context.Context, id, by string) (Change, error) {
	return p.unfreeze(ctx, id, by, "1", "")
}

// UnfreezeRun is to Unfreeze what FreezeRun is to Freeze: it lifts that run's freeze and no other. What a Python node's
// own tools froze stays, too: Change.Own then says why.
func (p *Pool) UnfreezeRun(ctx context.Context, id, by, prefix string) (Change, error) {
	return p.unfreeze(ctx, id, by, "0", prefix)
}

func (p *Pool) unfreeze(ctx context.Context, id, by, queued, prefix string) (Change, error) {
	if err := CheckID(id); err != nil {
		return Change{}, err
	}
	rfc, unix := stamp()
	tell, err := json.Marshal(map[string]string{"type": "unfreeze", "by": cut(by)})
	if err != nil {
		return Change{}, fmt.Errorf("encode command: %w", err)
	}
	k := p.keys
	r, err := p.runOnce(ctx, "unfreeze", unfreezeScript,
		[]string{k.all(), k.active(), k.frozen(), k.status(id), k.rev(), k.events(), k.commands(id), k.heartbeat(id), k.taken(id)},
		id, p.channel, rfc, unix, cut(by), string(tell), queued, prefix)
	c, err := p.change(id, r, err)
	if err == nil && r.word() == "self" {
		c.Changed, c.Own = r.at(3) == "1", r.at(2)
		if c.Own == "" {
			c.Own = "no reason given"
		}
	}
	return c, err
}

// Forget removes every trace of a node; any text is taken as its id, so that rubbish can be removed, too.
func (p *Pool) Forget(ctx context.Context, id, by string) (Change, error) {
	rfc, _ := stamp()
	k := p.keys
	r, err := p.runOnce(ctx, "forget", forgetScript,
		[]string{k.all(), k.active(), k.frozen(), k.heartbeat(id), k.status(id), k.rev(), k.events(), k.nodeIPs(), k.commands(id), k.taken(id), k.recent(id)},
		id, p.channel, rfc, cut(by))
	return p.change(id, r, err)
}

func (p *Pool) change(id string, r reply, err error) (Change, error) {
	if err != nil {
		return Change{}, p.Explain(err)
	}
	if r.word() == "none" {
		return Change{}, noSuch(id)
	}
	if r.word() == "others" {
		return Change{}, &OthersFreezeError{ID: id, Freeze: *decodeFreeze(map[string]string{id: r.at(1)}, id)}
	}
	c := Change{ID: id, Changed: r.word() == "ok", Rev: r.rev(1)}
	if c.Changed && c.Rev == 0 {
		return c, fmt.Errorf("node %s: redis answered no revision", id)
	}
	return c, nil
}

// Cleanup takes every node that is active without a heartbeat out of nodes:active and returns their ids. Each is
// checked again in Redis at the moment it is taken out, and one that fails does not stop the others. Three round trips at
// any fleet size.
func (p *Pool) Cleanup(ctx context.Context, by string) ([]string, error) {
	s, err := p.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	var dead []string
	for _, n := range s.Nodes {
		if n.Active && !n.Alive {
			dead = append(dead, n.ID)
		}
	}
	if len(dead) == 0 {
		return nil, nil
	}
	k := p.keys
	rfc, _ := stamp()
	var replies []*redis.Cmd
	pipe := p.rdb.Pipeline()
	for _, id := range dead {
		replies = append(replies, cleanupScript.Eval(ctx, pipe, // EVAL: a pipeline can't load a script on the way
			[]string{k.active(), k.heartbeat(id), k.status(id), k.rev(), k.events()}, id, p.channel, rfc, cut(by)))
	}
	_, _ = pipe.Exec(ctx) // its error is the first of theirs
	var gone []string
	var errs []error
	for i, cmd := range replies {
		r, err := readReply(cmd)
		if err != nil {
			errs = append(errs, p.Explain(fmt.Errorf("clean up %s: %w", dead[i], err)))
		} else if r.word() == "ok" {
			gone = append(gone, dead[i])
		}
	}
	return gone, errors.Join(errs...)
}
