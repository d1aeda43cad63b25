package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/pool"
)

// storm is changes of the pool without a pause.
type storm struct {
	s    *Site
	stop context.CancelFunc
	done sync.WaitGroup

	mu      sync.Mutex
	changes []changed
	err     error
}

type changed struct {
	at  time.Time
	rev int64
}

// storm freezes and unfreezes all nodes but the last, at random, 50 times a second until its end.
func (s *Site) storm() *storm {
	t := &storm{s: s}
	ctx, stop := context.WithCancel(s.ctx)
	t.stop = stop
	s.atEnd(func() error { stop(); t.done.Wait(); return nil })
	t.done.Go(func() { t.run(ctx) })
	return t
}

func (t *storm) run(ctx context.Context) {
	frozen := map[string]bool{}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		id := t.s.nodes[rand.N(len(t.s.nodes)-1)].id
		do := t.s.pool.Unfreeze
		if !frozen[id] {
			do = func(ctx context.Context, id, by string) (c pool.Change, err error) {
				return t.s.pool.Freeze(ctx, id, by, "storm")
			}
		}
		c, err := do(context.WithoutCancel(ctx), id, "faults")
		t.mu.Lock()
		if err != nil {
			t.err = errors.Join(t.err, err)
		} else {
			frozen[id] = !frozen[id]
			t.changes = append(t.changes, changed{time.Now(), c.Rev})
		}
		t.mu.Unlock()
	}
}

// end ends it, with all nodes back.
func (t *storm) end() {
	t.stop()
	t.done.Wait()
	t.s.must(t.err)
	t.s.unfreeze(t.s.all()...)
}

// asOf is the newest revision at a time.
func (t *storm) asOf(at time.Time) (rev int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.changes {
		if c.at.Before(at) {
			rev = c.rev
		}
	}
	return rev
}

// ackFollows returns nil when lbd's ack is of what the pool was lag ago, or newer.
func (s *Site) ackFollows(t *storm, lag time.Duration) error {
	want := t.asOf(time.Now().Add(-lag))
	lbs, err := s.pool.LBs(s.ctx)
	if err != nil {
		return err
	}
	for _, b := range lbs {
		if b.ID == s.lbd.id {
			if b.Rev < want {
				return fmt.Errorf("revision %d is acked, the pool was at %d %v ago: %s", b.Rev, want, lag, b.Error)
			}
			return nil
		}
	}
	return errors.New("no ack")
}

// follows is ackFollows, and the file is not older either.
func (s *Site) follows(t *storm, lag time.Duration) error {
	if err := s.ackFollows(t, lag); err != nil {
		return err
	}
	if _, err := s.served(); err != nil {
		return err
	}
	st, err := s.lbd.status(s.ctx)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if newest := int64(lag / (20 * time.Millisecond)); st.Written < st.Running-newest {
		return fmt.Errorf("generation %d runs, %d is written: more than %v behind", st.Running, st.Written, lag)
	}
	return nil
}

// drained waits until nothing is under way on a node in any Nginx that is of a revision.
func (s *Site) drained(rev int64, within time.Duration, id string) error {
	ctx, cancel := context.WithTimeout(s.ctx, within)
	defer cancel()
	return s.pool.WaitDrained(ctx, rev, []string{id}, nil)
}

// multitude is so many applications more.
func (s *Site) multitude(n int) []forged {
	return crowd(n, func(i int) forged { return s.another(fmt.Sprintf("many%d", i)) })
}

// another starts an application of this id more, and returns its entry.
func (s *Site) another(id string) forged {
	app, err := load.Listen("127.0.0.1:0", id)
	s.must(err)
	s.atEnd(func() error { app.Kill(); return nil })
	s.nodes = append(s.nodes, &node{id: id, app: app})
	ip, port := splitAddr(app.Addr())
	return forged{id: id, agent: "1.0", fields: map[string]string{"address": ip, "port": port}}
}
