package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/bazbeans/bazbeans/dev/load"
)

// contender is one way to bring a change of the set of nodes to the server that clients connect to.
type contender interface {
	// freeze takes a node out, unfreeze puts it back. Both return once the change is on its way: nothing is promised
	// about what is served then. Whatever they do themselves is part of the time that is measured.
	freeze(ctx context.Context, node string) error
	unfreeze(ctx context.Context, node string) error
	// daemon is the process that does the work, nil when there is none.
	daemon() *daemon
	// steps is how long its steps have taken so far, empty when it does not tell.
	steps(ctx context.Context) (stepTimes, error)
	// close ends what the contender started.
	close() error
}

// starter starts a contender and the front that it works on; it returns when the front serves all nodes. What it returns
// beside an error is closed, too.
type starter func(ctx context.Context, s *site, name string) (front, contender, error)

// plan is how a lane is measured.
type plan struct {
	name   string
	start  starter
	cycles int // of the whole run

	// reloads says that a change brings new workers: then it is over when the old ones are gone. Without, workers must
	// not change at all.
	reloads bool
	// quiet is how long nothing may have gone on before a change. For lbd's reloads it is longer than min_interval, 1 s:
	// that is a budget for floods of changes, not a cost of one.
	quiet time.Duration
	// jitter is the most that is waited besides, by chance, before each change: a front that looks once a second would
	// else always meet the change at the same moment.
	jitter time.Duration
}

// lane is a contender with a front of its own: the same nodes, the same configuration but for what makes the contender.
// So none meets workers, connections or files that another one has left.
type lane struct {
	plan
	contender
	front
	site *site
	rate float64
}

const (
	within = 10 * time.Second // a change that has not arrived by then is an error
	begun  = time.Minute      // so is a program that does not answer by then
	// Looking costs a processor time, too: often while a moment is awaited that a node itself has noted, seldom else.
	poll     = 5 * time.Millisecond
	calmPoll = 25 * time.Millisecond
)

func newLane(ctx context.Context, s *site, p plan, rate float64) (*lane, error) {
	f, c, err := p.start(ctx, s, p.name)
	if c != nil {
		s.atEnd(c.close)
	}
	if err == nil {
		err = asked(ctx, f.addr())
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	return &lane{plan: p, contender: c, front: f, site: s, rate: rate}, nil
}

// cycle freezes a node and unfreezes it again. drain is from the write to the start of the last request that the node
// got, 0 when it got none after the write; back is from the write to the start of the first one. All is quiet before
// and after.
func (l *lane) cycle(ctx context.Context, node *load.Backend) (drain, back time.Duration, err error) {
	const fresh = 500 * time.Millisecond
	if err := l.shake(ctx); err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if _, ok := node.LastStart(began.Add(-fresh)); !ok {
		return 0, 0, fmt.Errorf("node %s got no request in the %v before its freeze", node.ID(), fresh)
	}
	began = time.Now()
	if err := l.freeze(ctx, node.ID()); err != nil {
		return 0, 0, fmt.Errorf("freeze %s: %w", node.ID(), err)
	}
	if err := l.calm(ctx, node); err != nil {
		return 0, 0, fmt.Errorf("freeze %s: %w", node.ID(), err)
	}
	if last, ok := node.LastStart(began); ok {
		drain = last.Sub(began)
	}

	if err := l.shake(ctx); err != nil {
		return 0, 0, err
	}
	began = time.Now()
	if err := l.unfreeze(ctx, node.ID()); err != nil {
		return 0, 0, fmt.Errorf("unfreeze %s: %w", node.ID(), err)
	}
	first, err := firstStart(ctx, node, began)
	if err != nil {
		return 0, 0, fmt.Errorf("unfreeze %s: %w", node.ID(), err)
	}
	if err := l.calm(ctx, nil); err != nil {
		return 0, 0, fmt.Errorf("unfreeze %s: %w", node.ID(), err)
	}
	return drain, first.Sub(began), nil
}

// shake waits for the jitter.
func (l *lane) shake(ctx context.Context) error {
	if l.jitter == 0 {
		return nil
	}
	return pause(ctx, rand.N(l.jitter))
}

// calm returns when for the time of quiet the front has had workers of one configuration only and the node, if one is
// given, has got no request, while all others together have got at least half of theirs: a machine that stands still is
// not quiet.
func (l *lane) calm(ctx context.Context, node *load.Backend) error {
	began := time.Now()
	since, why := began, "too few requests arrive"
	served := l.site.served()
	again := func(at time.Time, because string) { since, why, served = at, because, l.site.served() }
	enough := int64(l.rate * l.quiet.Seconds() / 2)
	for now := began; now.Sub(since) < l.quiet || l.site.served()-served < enough; now = time.Now() {
		if now.Sub(began) > within {
			return fmt.Errorf("not over after %v: %s", within, why)
		}
		if err := pause(ctx, calmPoll); err != nil {
			return err
		}
		if l.reloads {
			unsettled, err := l.unsettled(ctx)
			if err != nil {
				return err
			}
			if unsettled != "" {
				again(time.Now(), unsettled)
			}
		}
		if node == nil {
			continue
		}
		if last, ok := node.LastStart(since); ok {
			again(last, fmt.Sprintf("node %s still gets requests", node.ID()))
		}
	}
	return nil
}

// firstStart waits for the first request that the node gets after t.
func firstStart(ctx context.Context, node *load.Backend, t time.Time) (time.Time, error) {
	for deadline := t.Add(within); time.Now().Before(deadline); {
		if starts := node.Starts(t); len(starts) > 0 {
			return starts[0], nil
		}
		if err := pause(ctx, poll); err != nil {
			return time.Time{}, err
		}
	}
	return time.Time{}, fmt.Errorf("node %s got no request within %v", node.ID(), within)
}

// await asks until ready returns nil.
func await(ctx context.Context, ready func() error) error {
	deadline := time.Now().Add(begun)
	for {
		err := ready()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		if err := pause(ctx, poll); err != nil {
			return err
		}
	}
}
