package resolvers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// Outcome is what a link says of a node. See Resolver.
type Outcome string

// The outcomes.
const (
	Found      Outcome = "found"
	NotMine    Outcome = "not_mine"
	CannotKnow Outcome = "cannot_know"
	Refused    Outcome = "refused"
)

// Said is a resolver's word on one node, as the door lets it pass.
type Said struct {
	Outcome  Outcome
	Endpoint       // of Found
	Err      error // of CannotKnow and Refused: why
}

// Said reads what a resolver's call said of one node. callErr is the call's error, which stands for nodes without an
// answer.
func (d Door) Said(id string, answers Answers, callErr error) Said {
	a, ok := answers[id]
	if !ok {
		if callErr == nil {
			return Said{Outcome: NotMine}
		}
		return Said{Outcome: CannotKnow, Err: callErr}
	}
	err := a.Err
	if err == nil {
		err = d.Pass(a.Endpoint)
	}
	switch {
	case err == nil:
		a.Addr = a.Addr.Unmap()
		return Said{Outcome: Found, Endpoint: a.Endpoint}
	case IsRefused(err):
		return Said{Outcome: Refused, Err: err}
	}
	return Said{Outcome: CannotKnow, Err: err}
}

// asker is a link as the chain asks it.
type asker struct {
	Link
	stuck <-chan reply // of a call that outlived its time; nil: none
}

type reply struct {
	answers Answers
	err     error
}

// ask calls the resolver and waits for it no longer than limit. Of that a tenth is there to return in after ctx has
// ended. Resolvers are other people's code: one that does not return is given up, and not called again before it has.
func (a *asker) ask(ctx context.Context, limit time.Duration, nodes []pool.Node) (Answers, time.Duration, error) {
	began := time.Now()
	if a.stuck != nil {
		select {
		case <-a.stuck: // too late to be of use
			a.stuck = nil
		default:
			return nil, 0, errors.New("it still works on an earlier question")
		}
	}
	grace := limit / 10
	ctx, cancel := context.WithTimeout(ctx, limit-grace)
	defer cancel()
	done := make(chan reply, 1)
	go func() { done <- call(ctx, a.Resolver, nodes) }()
	var r reply
	select {
	case r = <-done:
		return r.answers, time.Since(began), r.err
	case <-ctx.Done():
	}
	select {
	case r = <-done:
	case <-time.After(grace):
		a.stuck = done
		r.err = fmt.Errorf("it did not return within %s", limit.Round(time.Millisecond))
	}
	return r.answers, time.Since(began), r.err
}

// call makes a panic an error: such a resolver cannot know, and its caller goes on.
func call(ctx context.Context, r Resolver, nodes []pool.Node) (got reply) {
	defer func() {
		if p := recover(); p != nil {
			got = reply{err: fmt.Errorf("panic: %v", p)}
		}
	}()
	answers, err := r.Resolve(ctx, nodes)
	return reply{answers, err}
}
