package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// Handler carries a command out. Its result is written as JSON for whoever sent the command, pool.OutputMost bytes at
// most; a *Ran fills the fields that programs have. An error is the command's failure; one that wraps
// context.DeadlineExceeded says that it timed out, and a *Refusal that nothing was done. ctx ends with the agent: then
// come back soon, and with an error if anything is left undone. Commands that may change the application run one after
// another.
type Handler func(ctx context.Context, c pool.Command) (result any, err error)

// Plugin brings handlers for several types of commands.
type Plugin interface {
	Handlers() map[string]Handler
}

// Handle adds a handler for a type of command, in place of the one it had. Whoever sends it needs a trusted key, unless
// the type is in allow_unsigned.
func (a *Agent) Handle(kind string, h Handler) { a.handlers[kind] = h }

// Use adds all handlers of a plugin.
func (a *Agent) Use(p Plugin) { maps.Copy(a.handlers, p.Handlers()) }

// Ran is the result of a command that ran a program.
type Ran struct {
	ExitCode       int             // -1: it did not come to its end
	Stdout, Stderr string          // see pool.Clip
	Output         json.RawMessage // what it answered, if it answers in JSON; nil: nothing
}

// Refusal is the error of a command that was not even begun, since this node must not or cannot do it.
type Refusal struct{ Why string }

func (r *Refusal) Error() string { return r.Why }

func refuse(format string, args ...any) error { return &Refusal{fmt.Sprintf(format, args...)} }

// queue is what the agent needs of the pool for commands; *pool.Pool says what each call promises.
type queue interface {
	Next(ctx context.Context, node string, wait time.Duration) (pool.Taken, bool, error)
	InHand(ctx context.Context, node string, n int) (hand []pool.Taken, more bool, err error)
	GiveBack(ctx context.Context, node string, t pool.Taken) error
	Begin(ctx context.Context, node, instance string, t pool.Taken) (pool.Begun, error)
	Finish(ctx context.Context, t pool.Taken, r pool.Result) error
	Drop(ctx context.Context, node string, t pool.Taken, why string) error
}

// The lanes: commands of one lane run one after another, those of different lanes beside each other, so that a long
// update holds up no freeze.
const (
	steer   = iota // what says whether the node gets traffic
	observe        // what only looks
	work           // all else: it may change the application
	lanes
)

func laneOf(kind string) int {
	switch kind {
	case "freeze", "unfreeze":
		return steer
	case "health_check", "status", "logs":
		return observe
	}
	return work
}

// knows returns the handler for a type of command, of the program or of commands_dir.
func (a *Agent) knows(kind string) (Handler, bool) {
	if h, ok := a.handlers[kind]; ok {
		return h, true
	}
	return a.commandsDir().handler(kind)
}

// commandTypes are the types that this agent knows now, sorted.
func (a *Agent) commandTypes() []string {
	types := slices.Collect(maps.Keys(a.handlers))
	types = append(types, a.commandsDir().types()...)
	slices.Sort(types)
	return slices.Compact(types)
}

// outcome turns what a handler returned into a result; stopped says that the agent ended meanwhile.
func outcome(r *pool.Result, result any, err error, stopped bool) {
	r.Ended = time.Now()
	if ran, ok := result.(*Ran); ok {
		if ran != nil {
			r.Stdout, r.Stderr, r.Output = ran.Stdout, ran.Stderr, ran.Output
		}
		if ran != nil && ran.ExitCode >= 0 {
			r.ExitCode = &ran.ExitCode
		}
	} else if result != nil {
		var encode error
		if r.Output, encode = json.Marshal(result); encode != nil {
			err = errors.Join(err, encode)
		}
	}
	var no *Refusal
	switch {
	case err == nil:
		r.State = pool.Succeeded
		return
	case errors.As(err, &no):
		r.State, r.Started, r.Ended = pool.Refused, time.Time{}, time.Time{}
	case stopped:
		r.State, err = pool.Interrupted, fmt.Errorf("the agent was stopped meanwhile: %w", err)
	case errors.Is(err, context.DeadlineExceeded):
		r.State = pool.TimedOut
	default:
		r.State = pool.Failed
	}
	r.Error = err.Error()
}
