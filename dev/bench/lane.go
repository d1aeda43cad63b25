package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/lbd/nginx"
)

// contender is one way to bring a change of the set of nodes to Nginx.
type contender interface {
	// freeze takes a node out, unfreeze puts it back. Both return once the change is on its way: nothing is promised
	// about what Nginx serves then. Whatever they do themselves is part of the time that is measured.
	freeze(ctx context.Context, node string) error
	unfreeze(ctx context.Context, node string) error
	// daemon is the process that does the work, nil when there is none.
	daemon() *daemon
	// steps is how long its steps have taken so far, empty when it does not tell.
	steps(ctx context.Context) (stepTimes, error)
	// close ends what the contender started.
	close() error
}

// lane is a contender with an Nginx of its own: the same nginx.conf, the same nodes, another port. So no contender
// meets workers, connections or files that another one has left.
type lane struct {
	name string
	contender
	web *servers.Nginx
	eye *nginx.Nginx // only looks: how many workers there are
}

const (
	workers = 2 // of each Nginx
	// quiet is how long nothing may have gone on before a change: longer than lbd's min_interval of 1 s between reloads,
	// which is a budget for floods of changes, not a cost of one.
	quiet  = 1250 * time.Millisecond
	within = 10 * time.Second // a change that has not arrived by then is an error
	// Looking costs a processor time, too: often while a moment is awaited that a node itself has noted, seldom else.
	poll     = 5 * time.Millisecond
	calmPoll = 25 * time.Millisecond
)

// upstreamFile is the file that a contender writes.
func upstreamFile(web *servers.Nginx) string {
	return filepath.Join(web.Prefix, "conf.d", "upstream.conf")
}

// starter starts a contender whose Nginx runs already; it returns when Nginx has all nodes. What it returns beside an
// error is closed, too.
type starter func(ctx context.Context, s *site, web *servers.Nginx) (contender, error)

// newLane starts an Nginx and then the contender before it.
func newLane(ctx context.Context, s *site, name string, start starter) (*lane, error) {
	dir := filepath.Join(s.dir, name)
	web, err := servers.StartNginx(ctx, servers.NginxOptions{Dir: dir, Workers: workers})
	if err != nil {
		return nil, err
	}
	s.atEnd(web.Kill)
	eye, err := nginx.New(nginx.Options{Binary: web.Binary, Prefix: web.Prefix, Conf: web.Conf, PID: web.PIDFile, StateDir: dir})
	if err != nil {
		return nil, err
	}
	c, err := start(ctx, s, web)
	if c != nil {
		s.atEnd(c.close)
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return &lane{name: name, contender: c, web: web, eye: eye}, nil
}

// cycle freezes a node and unfreezes it again. drain is from the write to the start of the last request that the node
// got, 0 when it got none after the write; back is from the write to the start of the first one. Nginx is quiet before
// and after.
func (l *lane) cycle(ctx context.Context, node *load.Backend) (drain, back time.Duration, err error) {
	const fresh = 500 * time.Millisecond
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

// calm returns when for the time of quiet Nginx has had workers of one configuration only and the node, if one is
// given, has got no request.
func (l *lane) calm(ctx context.Context, node *load.Backend) error {
	began := time.Now()
	since, why := began, ""
	for now := began; now.Sub(since) < quiet; now = time.Now() {
		if now.Sub(began) > within {
			return fmt.Errorf("not over after %v: %s", within, why)
		}
		if err := pause(ctx, calmPoll); err != nil {
			return err
		}
		state, err := l.eye.State(ctx)
		if err != nil {
			return err
		}
		if state.Workers != workers || state.Draining > 0 {
			since, why = time.Now(), fmt.Sprintf("nginx has %d workers and %d of former configurations", state.Workers, state.Draining)
		}
		if node == nil {
			continue
		}
		if last, ok := node.LastStart(since); ok {
			since, why = last, fmt.Sprintf("node %s still gets requests", node.ID())
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
	deadline := time.Now().Add(within)
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
