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

var sendScript = script("send.lua")

// queueMost is how many commands may wait for one node.
const queueMost = 1000

// commandMost bounds what is read of a command, in bytes.
const commandMost = 1 << 20

// Command is one order to a node. The original system's fields stand in Args beside its type.
type Command struct {
	Type    string
	ID      string         // ours; "" in a command of the Python CLI
	By      string         // who sent it
	Issued  time.Time      // by the sender's clock; zero: unknown
	Expires time.Time      // zero: never
	Args    map[string]any // every other field of the JSON object: reason, command, path, content, …
}

// NewCommand returns a command with an id of its own that expires after ttl (0: never).
func NewCommand(kind, by string, ttl time.Duration, args map[string]any) Command {
	c := Command{Type: kind, ID: rand.Text(), By: by, Issued: time.Now(), Args: args}
	if ttl > 0 {
		c.Expires = c.Issued.Add(ttl)
	}
	return c
}

// Text returns an argument that is text, or "".
func (c Command) Text(arg string) string {
	s, _ := c.Args[arg].(string)
	return s
}

// MarshalJSON writes the original system's object {"type": …} with our fields beside it; times are Unix seconds.
func (c Command) MarshalJSON() ([]byte, error) {
	m := make(map[string]any, len(c.Args)+5)
	for k, v := range c.Args {
		m[k] = v
	}
	m["type"] = c.Type
	for k, v := range map[string]string{"id": c.ID, "by": c.By} {
		if v != "" {
			m[k] = v
		}
	}
	for k, t := range map[string]time.Time{"issued": c.Issued, "expires": c.Expires} {
		if !t.IsZero() {
			m[k] = float64(t.UnixMilli()) / 1000
		}
	}
	return json.Marshal(m)
}

// UnmarshalJSON reads what MarshalJSON writes and what the Python CLI pushes.
func (c *Command) UnmarshalJSON(b []byte) error {
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	text := func(k string) string { s, _ := m[k].(string); delete(m, k); return s }
	when := func(k string) time.Time { f, _ := m[k].(float64); delete(m, k); return unixTime(f) }
	*c = Command{Type: text("type"), ID: cut(text("id")), By: cut(text("by")), Issued: when("issued"), Expires: when("expires"), Args: m}
	if c.Type == "" {
		return errors.New("command has no type")
	}
	return nil
}

// Send queues a command. The errors are ErrNoSuchNode and ErrQueueFull, besides Redis's own.
func (p *Pool) Send(ctx context.Context, id string, c Command) error {
	if err := CheckID(id); err != nil {
		return err
	}
	b, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode command: %w", err)
	}
	r, err := p.run(ctx, "send command", sendScript, []string{p.keys.all(), p.keys.active(), p.keys.commands(id)}, id, string(b), queueMost)
	switch {
	case err != nil:
		return p.Explain(err)
	case r.word() == "none":
		return noSuch(id)
	case r.word() == "full":
		return fmt.Errorf("node %s: %w: %d commands wait, its agent takes none", id, ErrQueueFull, queueMost)
	}
	return nil
}

// Take waits up to wait (at least 1 s) for a command to the node and takes it off the queue; ok is false when none
// came. A command that cannot be read is gone, and the error says what it was.
func (p *Pool) Take(ctx context.Context, id string, wait time.Duration) (c Command, ok bool, err error) {
	kv, err := p.rdb.BLPop(ctx, wait, p.keys.commands(id)).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return c, false, nil
	case err != nil:
		return c, false, p.Explain(err)
	case len(kv) != 2:
		return c, false, fmt.Errorf("take command: redis answered %d values", len(kv))
	case len(kv[1]) > commandMost:
		return c, false, &BadCommandError{fmt.Errorf("%d bytes are more than %d", len(kv[1]), commandMost)}
	}
	if err := json.Unmarshal([]byte(kv[1]), &c); err != nil {
		return c, false, &BadCommandError{fmt.Errorf("%s: %w", shown(kv[1]), err)}
	}
	return c, true, nil
}

// PutBack puts a command that was taken and not begun to the head of the queue again.
func (p *Pool) PutBack(ctx context.Context, id string, c Command) error {
	b, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode command: %w", err)
	}
	return p.Explain(p.rdb.LPush(ctx, p.keys.commands(id), b).Err())
}

// BadCommandError says that what was taken from a queue is no command.
type BadCommandError struct{ Err error }

func (e *BadCommandError) Error() string { return "unreadable command: " + e.Err.Error() }
func (e *BadCommandError) Unwrap() error { return e.Err }

// Report writes what a command came to where the original system does: status (as "executed_<type>") and details of
// the node's hash, for people.
func (p *Pool) Report(ctx context.Context, id string, c Command, details any) error {
	b, err := json.Marshal(details)
	if err != nil {
		return fmt.Errorf("encode result of %s: %w", c.Type, err)
	}
	_, unix := stamp()
	return p.Explain(p.rdb.HSet(ctx, p.keys.status(id), "status", "executed_"+c.Type, "details", string(b), "timestamp", unix).Err())
}
