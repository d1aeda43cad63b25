package lbd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bazbeans/bazbeans/lbd/live"
	"github.com/bazbeans/bazbeans/lbd/nginx"
	"github.com/bazbeans/bazbeans/step"
)

const (
	pushTimeout  = 2 * time.Second // for one push; a stopped worker answers none
	reachTimeout = 3 * time.Second // for the channel to work after a reload; longer than Nginx's own lock (src/70_control.lua)
	reachPoll    = 20 * time.Millisecond
	crossTimeout = 10 * time.Second // for Nginx to look up its peers for the first time
)

// cross brings Nginx to run a bridge, with which it learns its peers while it has others to send to.
func (e *liveEngine) cross(ctx context.Context, p *Plan, bridge []nginx.File, want pieces) (Outcome, error) {
	over := *p
	over.Files = bridge
	out, err := e.reloads.Apply(ctx, &over)
	if err != nil || !out.Running {
		return out, err
	}
	return out, e.across(ctx, e.push(ctx, p.generation, want))
}

// across waits until Nginx, which runs a bridge, has learnt its peers; pushed is what came of telling it.
func (e *liveEngine) across(ctx context.Context, pushed error) error {
	if pushed != nil {
		return step.Wrap(step.Push, fmt.Errorf("%w: %w", errChannel, pushed))
	}
	for deadline := time.Now().Add(crossTimeout); ; {
		is, err := e.kind.State(ctx)
		if err == nil && is.Pending == "" {
			return nil
		}
		if err == nil {
			err = errors.New(is.Pending)
		}
		if time.Now().After(deadline) {
			return step.Wrap(step.Push, fmt.Errorf("%w: %w", errChannel, err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(reachPoll):
		}
	}
}

// reach makes sure that Nginx goes by the peers, and waits a little for the channel to work. It reports whether they had
// to be pushed.
func (e *liveEngine) reach(ctx context.Context, p *Plan, want pieces) (pushed bool, err error) {
	for deadline := time.Now().Add(reachTimeout); ; {
		pushed, err := e.converge(ctx, p, want)
		if err == nil || ctx.Err() != nil {
			return pushed, err
		}
		e.kind.reached()
		if time.Now().After(deadline) {
			return false, step.Wrap(step.Push, fmt.Errorf("%w: %w", errChannel, err))
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(reachPoll):
		}
	}
}

// converge pushes the peers unless Nginx goes by them already.
func (e *liveEngine) converge(ctx context.Context, p *Plan, want pieces) (pushed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	if err := e.known(ctx); err != nil {
		return false, err
	}
	is, ok, err := e.kind.Current(ctx)
	if err != nil {
		return false, err
	}
	if ok {
		e.slots.adopt(is)
		if is.Sum == want.sum && is.Generation == p.generation && !e.again || p.standing && is.Generation > p.generation {
			// Standing, lbd may remember less than it has pushed: it was killed before it wrote that down.
			e.pushed = want.sum
			return false, nil
		}
	} else {
		e.slots.fresh = true // it begins with what the files say
	}
	err = e.push(ctx, p.generation, want)
	return err == nil, err
}

// known returns an error when the channel leads to another Nginx than the one that is kept.
func (e *liveEngine) known(ctx context.Context) error {
	s, err := e.reloads.State(ctx)
	if err != nil {
		return err
	}
	is, err := e.kind.State(ctx)
	if err == nil {
		_, err = ended(is.Workers, s.Master)
	}
	return err
}

func (e *liveEngine) push(ctx context.Context, generation int64, want pieces) error {
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	m := live.Message{Generation: generation, Sum: want.sum, Upstreams: e.slots.place(want.upstreams, e.starts, time.Now())}
	if err := e.kind.Push(ctx, m); err != nil {
		e.pushed = "" // it may have been taken all the same
		return err
	}
	e.pushed, e.again, e.repeated = want.sum, false, e.again
	return nil
}
