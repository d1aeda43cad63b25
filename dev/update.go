package dev

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bazbeans/bazbeans/agent"
	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/pool"
)

// startTakes is how long a sample application is away while it is replaced.
const startTakes = time.Second

// deployable are the commands of a sample application. They need no signature: they harm a sample only.
var deployable = []string{"restart", "update"}

// handle teaches the node's agent to replace its application, so that bbctl restart and bbctl update can be tried.
func (n *Node) handle(a *agent.Agent) {
	for _, kind := range deployable {
		a.Handle(kind, func(ctx context.Context, _ pool.Command) (any, error) { return nil, n.replace(ctx) })
	}
}

// replace ends the application in order and starts another a moment later, as a deployment does.
func (n *Node) replace(ctx context.Context) error {
	if err := n.locked(ctx, func() error { return n.backend.Close() }); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(startTakes):
	}
	return n.locked(ctx, func() error {
		b, err := load.Listen(n.Addr.String(), n.ID)
		if err != nil {
			return fmt.Errorf("start the application again: %w", err)
		}
		n.before += n.backend.Served()
		n.backend = b
		return nil
	})
}

// locked runs do unless the node ends first: that holds the lock until the agent, and with it this command, has ended.
func (n *Node) locked(ctx context.Context, do func() error) error {
	for !n.mu.TryLock() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	defer n.mu.Unlock()
	if !n.up {
		return errors.New("the node was killed")
	}
	return do()
}
