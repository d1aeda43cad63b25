package pool

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	beginScript    = script("begin.lua")
	dropScript     = script("drop.lua")
	giveBackScript = script("giveback.lua")
	handScript     = script("hand.lua")
)

// Taken is what an agent took off its queue. It stays in Redis, in hand of the node, until Finish, Drop or GiveBack:
// an agent that dies finds it there when it is back.
type Taken struct {
	Command
	Err error  // why it is no command; then the Command is empty
	raw string // as it stands in Redis
}

// Next waits up to wait (at least 1 s) for a command to the node and takes it in hand; ok is false when none came.
// A command without an id, as the Python CLI sends it, is given one. After an error there may be something in hand that
// was not returned: look InHand.
func (p *Pool) Next(ctx context.Context, node string, wait time.Duration) (t Taken, ok bool, err error) {
	// Sent once: sent again after an answer that was lost it would take the next command before the one that is in hand
	// then, a start before a stop. The pipeline is never run: it makes the command with a time of its own for the answer.
	move := p.rdb.Pipeline().BLMove(ctx, p.keys.commands(node), p.keys.taken(node), "LEFT", "RIGHT", wait)
	_ = p.rdb.Process(ctx, noRetry{move}) // the error is in move, too
	raw, err := move.Result()
	switch {
	case errors.Is(err, redis.Nil):
		return t, false, nil
	case err != nil:
		return t, false, p.Explain(fmt.Errorf("take command: %w", err))
	}
	t, err = p.named(ctx, node, readTaken(raw))
	return t, err == nil, err
}

// handMost bounds one answer of InHand, in bytes: two commands of the greatest size.
const handMost = 2 * commandMost

// InHand returns the first of what the node has in hand, oldest first: of this run of its agent, and what an earlier one
// left. It returns n at most, and fewer when they are large; more says that there are others.
func (p *Pool) InHand(ctx context.Context, node string, n int) (hand []Taken, more bool, err error) {
	r, err := p.run(ctx, "look at commands in hand", handScript, []string{p.keys.taken(node)}, n, commandMost, handMost)
	if err != nil {
		return nil, false, p.Explain(err)
	}
	hand = make([]Taken, len(r)-1)
	for i, raw := range r[1:] {
		if hand[i], err = p.named(ctx, node, readTaken(raw)); err != nil {
			return hand[:i], true, err
		}
	}
	return hand, r.word() == "more", nil
}

func readTaken(raw string) Taken {
	t := Taken{raw: raw}
	if len(raw) > commandMost {
		t.Err = fmt.Errorf("unreadable command: %d bytes are more than %d", len(raw), commandMost)
	} else if err := json.Unmarshal([]byte(raw), &t.Command); err != nil {
		t.Command = Command{}
		t.Err = fmt.Errorf("unreadable command %s: %w", shown(raw), err)
	}
	return t
}

// named gives a command without an id one, in Redis too, before anything is done with it.
func (p *Pool) named(ctx context.Context, node string, t Taken) (Taken, error) {
	if t.Err != nil || t.ID != "" {
		return t, nil
	}
	t.ID = "py-" + rand.Text()
	b, err := json.Marshal(t.Command)
	if err != nil {
		return t, fmt.Errorf("encode command: %w", err)
	}
	key := p.keys.taken(node)
	err = told(p.rdb.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		tx.LInsertBefore(ctx, key, t.raw, b)
		tx.LRem(ctx, key, 1, t.raw)
		return nil
	}))
	t.raw = string(b)
	return t, p.Explain(err)
}

// GiveBack puts what was taken and not begun to the head of the queue again. What is not in hand any more, since somebody
// removed it, stays removed.
func (p *Pool) GiveBack(ctx context.Context, node string, t Taken) error {
	_, err := p.run(ctx, "give command back", giveBackScript, []string{p.keys.taken(node), p.keys.commands(node)}, t.raw)
	return p.Explain(err)
}

// Begun is the answer to Begin.
type Begun struct {
	Run      bool         // it is the caller's to run, now
	Before   CommandState // what it was already; Unknown: it is not in hand any more, since somebody removed it or Redis lost it
	Instance string       // of the agent that began it before
}

// Begin notes that a command runs, before it does. It can be asked again: the answer to the same instance is the same.
func (p *Pool) Begin(ctx context.Context, node, instance string, t Taken) (Begun, error) {
	k := p.keys
	rfc, _ := stamp()
	r, err := p.run(ctx, "begin command", beginScript, []string{k.taken(node), k.command(t.ID), k.recent(node)},
		t.raw, t.ID, node, t.Type, t.By, rfc, instance, resultTTL.Milliseconds(), recentMost)
	switch {
	case err != nil:
		return Begun{}, p.Explain(err)
	case r.word() == "ok":
		return Begun{Run: true}, nil
	case r.word() == "before":
		return Begun{Before: CommandState(r.at(1)), Instance: cut(r.at(2))}, nil
	}
	return Begun{Before: Unknown}, nil
}

// Drop throws away what will never be run and has no result of its own: what is no command, or was seen before. The
// stream of events says why.
func (p *Pool) Drop(ctx context.Context, node string, t Taken, why string) error {
	rfc, _ := stamp()
	_, err := p.run(ctx, "drop command", dropScript, []string{p.keys.taken(node), p.keys.events()},
		t.raw, node, cut(why), t.By, rfc, t.ID)
	return p.Explain(err)
}
