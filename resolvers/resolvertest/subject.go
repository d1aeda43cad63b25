package resolvertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/resolvers"
)

// subject is the resolver that a rule looks at.
type subject struct {
	Case
	resolvers.Resolver
	t      testing.TB
	closed bool
}

// soon is what "at once" and "soon after ctx has ended" mean: long enough for a machine with other things to do.
const soon = 2 * time.Second

// lateMost is how many calls in a row may come to the end of their time before that is the resolver's fault.
const lateMost = 3

// answer is what one call came to.
type answer struct {
	resolvers.Answers
	err error
}

// ask calls Resolve. The error says that it did not return soon after ctx ended, or that it panicked.
func (s *subject) ask(ctx context.Context, nodes []pool.Node) (answer, error) {
	type result struct {
		answer
		panicked any
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			r.panicked = recover()
			done <- r
		}()
		r.Answers, r.err = s.Resolve(ctx, nodes)
	}()
	var r result
	select {
	case r = <-done:
	case <-ctx.Done():
		var ok bool
		if r, ok = inTime(done); !ok {
			return answer{}, fmt.Errorf("asked about %d nodes it does not return within %s of the end of its ctx", len(nodes), soon)
		}
	}
	if r.panicked != nil {
		return r.answer, fmt.Errorf("asked about %d nodes it panics: %v", len(nodes), r.panicked)
	}
	return r.answer, nil
}

// learn asks until each node has the outcome that the case says. A resolver that is no Notifier has one call for it;
// one that is may say "cannot know" until it knows.
func (s *subject) learn(ids ...string) error {
	return s.until(s.Known, ids, false)
}

// until is learn with other addresses; meanwhile, nodes may have an older address if old is set.
func (s *subject) until(want map[string]resolvers.Endpoint, ids []string, old bool) error {
	deadline := time.Now().Add(s.Within)
	for late := 0; ; {
		ctx, cancel := context.WithTimeout(context.Background(), resolvers.Timeout) // as the chain does
		got, err := s.ask(ctx, s.nodes(ids...))
		if ctx.Err() != nil {
			late++ // a few calls may have no time left on a machine that stands still: they prove nothing
		} else {
			late = 0
		}
		cancel()
		if err != nil {
			return err
		}
		var open error
		for _, id := range ids {
			said := s.Door.Said(id, got.Answers, got.err)
			if err = s.compare(id, said, want); err == nil {
				continue
			}
			later := said.Outcome == resolvers.CannotKnow || old && said.Outcome == resolvers.Found
			if _, learns := s.Resolver.(resolvers.Notifier); !later || !learns && (late == 0 || late > lateMost) {
				return err
			}
			open = err
		}
		if open == nil || time.Now().After(deadline) && (late == 0 || late > lateMost) {
			return open
		}
		s.wait(100 * time.Millisecond)
	}
}

// compare holds one node's outcome against what the case says. Of a node that it does not name anything may be said.
func (s *subject) compare(id string, said resolvers.Said, want map[string]resolvers.Endpoint) error {
	at, known := want[id]
	outcome := said.Outcome
	switch {
	case known:
		outcome = resolvers.Found
	case slices.Contains(s.NotMine, id):
		outcome = resolvers.NotMine
	case slices.Contains(s.CannotKnow, id):
		outcome = resolvers.CannotKnow
	case slices.Contains(s.Refused, id):
		outcome = resolvers.Refused
	}
	if said.Outcome != outcome {
		return fmt.Errorf("of %s it says %s (%+v, error %v), want %s", id, said.Outcome, said.Endpoint, said.Err, outcome)
	}
	if known && said.Endpoint != at {
		return fmt.Errorf("it finds %s at %+v, want %+v", id, said.Endpoint, at)
	}
	return nil
}

// wait waits for the Notifier's word, if there is one to wait for, or for the time to pass.
func (s *subject) wait(most time.Duration) (told bool) {
	n, ok := s.Resolver.(resolvers.Notifier)
	if !ok {
		return false
	}
	select {
	case <-n.Changed():
		return true
	case <-time.After(most):
		return false
	}
}

// close closes the resolver, once.
func (s *subject) close() error {
	closer, ok := s.Resolver.(io.Closer)
	if !ok || s.closed {
		return nil
	}
	s.closed = true
	done := make(chan error, 1)
	go func() { done <- closer.Close() }()
	err, ok := inTime(done)
	switch {
	case !ok:
		return errors.New("close does not return")
	case err != nil:
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// inTime waits for what comes soon. It sleeps in short turns, so that a machine that stands still costs one of them, and
// is not taken for a resolver that does.
func inTime[T any](from <-chan T) (v T, ok bool) {
	const turn = 10 * time.Millisecond
	for range soon / turn {
		select {
		case v = <-from:
			return v, true
		case <-time.After(turn):
		}
	}
	return v, false
}

func (s *subject) nodes(ids ...string) []pool.Node {
	nodes := make([]pool.Node, len(ids))
	for i, id := range ids {
		nodes[i] = s.Node(id)
	}
	return nodes
}

// named lists the nodes of the case.
func (s *subject) named() []string {
	return slices.Concat(slices.Sorted(maps.Keys(s.Known)), s.NotMine, s.CannotKnow, s.Refused)
}

// inTime checks answers given under a ctx that ended early: a node is found or "cannot know", but never what only a
// source could have said.
func (s *subject) inTime(got answer) error {
	for id := range s.Known {
		said := s.Door.Said(id, got.Answers, got.err)
		if said.Outcome == resolvers.NotMine || said.Outcome == resolvers.Refused {
			return fmt.Errorf("when its time was over it says %s of %s (%v), want cannot_know: or a time-out takes a good node away", said.Outcome, id, said.Err)
		}
	}
	return nil
}
