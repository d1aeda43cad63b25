package ctl

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// agent takes commands of a node as an agent of ours does; do says what comes of each, and nil is an agent that dies
// with it in hand.
func (s *site) agent(id string, do func(pool.Command) *pool.Result) {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			// The end of the test must not interrupt what it does: what was just taken would be gone, and half begun.
			calls := context.WithoutCancel(ctx)
			t, ok, err := s.p.Next(calls, id, time.Second)
			if err != nil || !ok {
				continue
			}
			begun, err := s.p.Begin(calls, id, "test", t)
			if err != nil || !begun.Run {
				s.t.Errorf("begin %s: %+v, %v", t.Type, begun, err)
				continue
			}
			began := time.Now()
			r := do(t.Command)
			if r == nil {
				return
			}
			r.ID, r.Node, r.Type, r.By, r.Started, r.Ended = t.ID, id, t.Type, t.By, began, time.Now()
			if err := s.p.Finish(calls, t, *r); err != nil {
				s.t.Errorf("finish %s: %v", t.Type, err)
			}
		}
	})
	s.t.Cleanup(func() {
		stop()
		wg.Wait()
	})
}

// succeed is an agent for which all goes well.
func succeed(c pool.Command) *pool.Result {
	r := &pool.Result{State: pool.Succeeded}
	if c.Type == "health_check" {
		r.Output = json.RawMessage(`{"healthy":true}`)
	}
	return r
}

// echo is an agent whose exec prints what it was told to run, on both streams.
func echo(c pool.Command) *pool.Result {
	code := 0
	return &pool.Result{State: pool.Succeeded, ExitCode: &code, Stdout: fmt.Sprintf("ran %s\n\x1b[2Jx\n", c.Text("command")), Stderr: "warned\n"}
}

// fail returns an agent that fails at one type of command.
func fail(kind, why string) func(pool.Command) *pool.Result {
	return func(c pool.Command) *pool.Result {
		if c.Type != kind {
			return succeed(c)
		}
		code := 3
		return &pool.Result{State: pool.Failed, Error: why, ExitCode: &code, Stderr: "line 1\nline \x1b[31m2\n"}
	}
}
