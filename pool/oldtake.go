package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

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
