package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
)

// bounded runs foreign code, never twice at a time, and waits for it no longer than limit. Code that never returns
// holds up its own next run and nothing else.
type bounded[T any] struct {
	name  string // for the log
	fn    func(context.Context) (T, error)
	limit time.Duration
	log   *slog.Logger
	busy  chan struct{} // of one: full while fn runs
}

func newBounded[T any](log *slog.Logger, name string, limit time.Duration, fn func(context.Context) (T, error)) *bounded[T] {
	return &bounded[T]{name: name, fn: fn, limit: limit, log: log, busy: make(chan struct{}, 1)}
}

func (b *bounded[T]) call(ctx context.Context) (T, error) {
	type answer struct {
		v   T
		err error
	}
	done := make(chan answer, 1)
	wait, cancel := context.WithTimeout(ctx, b.limit) // the run before began earlier, and has no longer than this
	defer cancel()
	select {
	case b.busy <- struct{}{}:
		ctx, cancel = context.WithTimeout(ctx, b.limit)
		defer cancel()
		go func() {
			defer func() { <-b.busy }()
			v, err := guarded(b.log, b.name, func() (T, error) { return b.fn(ctx) })
			done <- answer{v, err}
		}()
	case <-wait.Done():
		ctx = wait
	}
	select {
	case a := <-done:
		return a.v, a.err
	case <-ctx.Done():
		var none T
		if errors.Is(ctx.Err(), context.Canceled) {
			return none, ctx.Err()
		}
		return none, fmt.Errorf("no answer within %v", b.limit)
	}
}

// guarded runs fn; a panic in it is an error of this call, with its stack in the log, and not the agent's end.
func guarded[T any](log *slog.Logger, name string, fn func() (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error(name+" panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("panicked: %v", p)
		}
	}()
	return fn()
}
