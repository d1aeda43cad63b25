package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

var sendScript = script("send.lua")

// queueMost is how many commands may wait for one node.
const queueMost = 1000

// How long a command's record is kept, and how many of a node's commands LastCommands knows.
const (
	resultTTL  = 24 * time.Hour
	recentMost = 50
)

// Send queues a command for a node and begins its record; see Result. A command without expiry gets DefaultExpiry, but
// for a signed one, whose times are in what is signed. Sending a command again changes nothing, so that a Send whose
// answer was lost (ErrMayBeDone) may be repeated. The other errors, of which none has queued it, are ErrNoSuchNode,
// ErrQueueFull, Redis's own, and those of a connection that there was none of.
func (p *Pool) Send(ctx context.Context, node string, c Command) error {
	if err := CheckID(node); err != nil {
		return err
	}
	if c.ID == "" {
		return fmt.Errorf("send %s: the command has no id: make it with NewCommand", c.Type)
	}
	if err := c.check(); err != nil {
		return fmt.Errorf("send command: %w", err)
	}
	if c.Expires.IsZero() && c.Signed == nil {
		c.Issued = time.Now()
		c.Expires = c.Issued.Add(DefaultExpiry)
	}
	b, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode command: %w", err)
	}
	if len(b) > commandMost {
		return fmt.Errorf("send %s to %s: %d bytes are more than the %d that an agent takes", c.Type, node, len(b), commandMost)
	}
	listed := recentMost
	if c.Unlisted {
		listed = 0
	}
	k := p.keys
	rfc, _ := stamp()
	r, err := p.runOnce(ctx, "send command", sendScript, // once, so that the error says whether it may be queued
		[]string{k.all(), k.active(), k.commands(node), k.taken(node), k.command(c.ID), k.recent(node), k.events()},
		node, string(b), queueMost, c.ID, c.Type, cut(c.By), rfc, clock(c.Expires), resultTTL.Milliseconds(), listed)
	switch {
	case err != nil:
		return p.Explain(err)
	case r.word() == "none":
		return noSuch(node)
	case r.word() == "other":
		return fmt.Errorf("send %s to %s: the id %s is that of a command to %s: give each its own", c.Type, node, c.ID, shown(r.at(1)))
	case r.word() == "full":
		return fmt.Errorf("node %s: %w: %s commands wait, its agent takes none", node, ErrQueueFull, r.at(1))
	}
	return nil
}

// clock writes a time as records carry it: RFC 3339, UTC, milliseconds; "" for none.
func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(clockForm)
}

const clockForm = "2006-01-02T15:04:05.000Z"

// ErrQueueFull says that a node's agent takes no commands, and too many wait.
var ErrQueueFull = errors.New("command queue is full")
