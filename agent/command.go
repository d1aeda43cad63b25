package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// Handler carries a command out. Its result is written as JSON for whoever sent the command, 64 KiB at most. ctx ends
// with the agent; commands run one after another, so bound what may hang.
type Handler func(ctx context.Context, c pool.Command) (result any, err error)

// Plugin brings handlers for several types of commands.
type Plugin interface {
	Handlers() map[string]Handler
}

// Handle adds a handler for a type of command, in place of the one it had.
func (a *Agent) Handle(kind string, h Handler) { a.handlers[kind] = h }

// Use adds all handlers of a plugin.
func (a *Agent) Use(p Plugin) { maps.Copy(a.handlers, p.Handlers()) }

// takeWait is how long one wait on the queue lasts: the least that Redis can wait, since nothing interrupts it, and
// the agent's end waits for it. A command that comes meanwhile is taken at once.
const takeWait = time.Second

// Bounds of what is written of a command.
const (
	resultMost = 64 << 10 // bytes
	typeMost   = 64       // characters
)

// What a command came to.
const (
	completed = "completed"
	failed    = "failed"  // by its handler
	refused   = "refused" // never begun
	expired   = "expired" // never begun
)

// outcome is the details that a command leaves in the node's hash. Short fields come first: readers cut.
type outcome struct {
	Status string          `json:"status"`
	ID     string          `json:"id,omitempty"` // of the command
	Error  string          `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// takeCommands carries commands out until ctx ends. A command that is taken after that goes back into the queue, for
// the agent that comes next.
func (a *Agent) takeCommands(ctx context.Context) {
	o := outage{log: a.log, what: "commands"}
	for ctx.Err() == nil {
		// The end must not interrupt it: a command just taken off the queue would be gone.
		wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeWait+callMost)
		c, ok, err := a.pool.Take(wait, a.cfg.NodeID, takeWait)
		cancel()
		var bad *pool.BadCommandError
		switch {
		case errors.As(err, &bad):
			a.log.Warn("command thrown away", "error", err)
		case err != nil:
			if !unreachable(err) { // that is said by the heartbeats
				o.failed(err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(a.cfg.CommandPollInterval)):
			}
		default:
			o.over()
			switch {
			case ok && ctx.Err() != nil:
				a.putBack(ctx, c)
			case ok:
				a.carryOut(ctx, c)
			}
		}
	}
}

func (a *Agent) putBack(ctx context.Context, c pool.Command) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.callLimit)
	defer cancel()
	if err := a.pool.PutBack(ctx, a.cfg.NodeID, c); err != nil {
		a.log.Error("a command taken at the end is lost", "command", cli.Printable(c.Type, typeMost), "id", c.ID, "error", err)
	}
}

func (a *Agent) carryOut(ctx context.Context, c pool.Command) {
	c.Type = cli.Printable(c.Type, typeMost)
	began := time.Now()
	out := a.decide(ctx, c)
	out.ID = c.ID
	log := a.log.With("command", c.Type, "id", c.ID, "by", sender(c), "took", time.Since(began).Round(time.Millisecond).String())
	if out.Status == completed {
		log.Info("command completed")
	} else {
		log.Warn("command "+out.Status, "error", out.Error)
	}
	// Also after the end: a result that nobody reads is a command lost.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.callLimit)
	defer cancel()
	if err := a.pool.Report(ctx, a.cfg.NodeID, c, out); err != nil {
		log.Warn("result of a command not written", "error", err)
	}
}

func (a *Agent) decide(ctx context.Context, c pool.Command) outcome {
	h, known := a.handlers[c.Type]
	switch {
	case !c.Expires.IsZero() && time.Now().After(c.Expires):
		return outcome{Status: expired, Error: "expired at " + c.Expires.UTC().Format(time.RFC3339)}
	case !known:
		return outcome{Status: refused, Error: fmt.Sprintf("unknown command %q; this agent knows %s", c.Type,
			strings.Join(slices.Sorted(maps.Keys(a.handlers)), ", "))}
	}
	result, err := guarded(a.log, "handler of "+c.Type, func() (json.RawMessage, error) {
		v, err := h(ctx, c)
		if err != nil || v == nil {
			return nil, err
		}
		return json.Marshal(v)
	})
	switch {
	case err != nil:
		return outcome{Status: failed, Error: cli.Printable(err.Error(), resultMost)}
	case len(result) > resultMost:
		return outcome{Status: completed, Error: fmt.Sprintf("its result of %d bytes is left out: more than %d", len(result), resultMost)}
	}
	return outcome{Status: completed, Result: result}
}
