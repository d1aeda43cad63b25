package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/bazbeans/bazbeans/dev/load"
)

// story plays what an operator does all day, under load, and believes nothing that it has not seen: each step ends
// when the applications themselves or Nginx show its effect, or fails at its deadline.
type story struct {
	site    *Site
	clients load.Options
	out     io.Writer
	began   time.Time
	figures [][2]string

	// pace is the least time between two steps, default 2 s: longer than lbd's min_interval, so that each change is the
	// first after a quiet, and long enough to be read.
	pace time.Duration
	// within is the most time for a change to have its effect, default 10 s; a death may take a TTL more.
	within time.Duration
}

const (
	enough = 50      // requests that show that a node serves
	actor  = "bbdev" // in the pool's records
)

// newStory makes one for a site that has started.
func newStory(s *Site, clients load.Options, out io.Writer) *story {
	return &story{site: s, clients: clients, out: out, began: time.Now(), pace: 2 * time.Second, within: 10 * time.Second}
}

// play plays it and prints the figures. The error says which step was not seen and how many requests failed.
func (st *story) play(ctx context.Context) error {
	gen, err := load.New(st.clients)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var report load.Report
	ended := make(chan error, 1)
	go func() {
		var err error
		report, err = gen.Run(ctx)
		ended <- err
	}()
	st.say("clients send %g requests a second to %s", st.clients.Rate, st.clients.URL)
	err = st.steps(ctx)
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	stop()
	if runErr := <-ended; runErr != nil {
		return errors.Join(err, runErr)
	}
	st.summary(&report)
	return errors.Join(err, verdict(&report))
}

func (st *story) steps(ctx context.Context) error {
	nodes := st.site.Nodes()
	frozen, killed := nodes[1], nodes[len(nodes)-1]
	if err := st.allServe(ctx); err != nil {
		return err
	}
	if err := st.freeze(ctx, frozen); err != nil {
		return fmt.Errorf("freeze %s: %w", frozen.ID, err)
	}
	if err := st.unfreeze(ctx, frozen); err != nil {
		return fmt.Errorf("unfreeze %s: %w", frozen.ID, err)
	}
	if err := st.kill(ctx, killed); err != nil {
		return fmt.Errorf("kill %s: %w", killed.ID, err)
	}
	if err := st.revive(ctx, killed); err != nil {
		return fmt.Errorf("start %s again: %w", killed.ID, err)
	}
	return st.allServe(ctx)
}

// allServe waits until every node has got enough requests from now on.
func (st *story) allServe(ctx context.Context) error {
	if err := st.serve(ctx, st.site.Nodes()); err != nil {
		return err
	}
	st.say("all %d nodes serve", len(st.site.Nodes()))
	return nil
}

// serve does so for some nodes, and takes at least the story's pace.
func (st *story) serve(ctx context.Context, nodes []*Node) error {
	since := time.Now()
	return st.see(ctx, func() error {
		if time.Since(since) < st.pace {
			return errors.New("still watching")
		}
		for _, n := range nodes {
			if got := len(n.Starts(since)); got < enough {
				return fmt.Errorf("%s got %d requests in %.1f s", n.ID, got, time.Since(since).Seconds())
			}
		}
		return nil
	})
}

// freeze does what `bbctl freeze NODE --wait` does, and looks at the node's own record of requests.
func (st *story) freeze(ctx context.Context, n *Node) error {
	wait, cancel := context.WithTimeout(ctx, st.within)
	defer cancel()
	began := time.Now()
	change, err := st.site.Pool().Freeze(wait, n.ID, actor, "the demo's story")
	if err != nil {
		return err
	}
	if err := st.site.Pool().WaitDrained(wait, change.Rev, []string{n.ID}, nil); err != nil {
		return fmt.Errorf("wait until drained: %w", err)
	}
	drained := time.Now()
	last := "before the write"
	if starts := n.Starts(began); len(starts) > 0 {
		last = milliseconds(starts[len(starts)-1].Sub(began))
	}
	st.say("%s frozen: drained after %s", n.ID, milliseconds(drained.Sub(began)))
	if err := st.serve(ctx, st.others(n)); err != nil {
		return err
	}
	if late := n.Starts(drained); len(late) > 0 {
		return fmt.Errorf("it got %d requests after it was drained", len(late))
	}
	st.say("%s got no request since then; the others did", n.ID)
	st.figure(fmt.Sprintf("freeze %s → its last request begins", n.ID), last)
	st.figure(fmt.Sprintf("freeze %s → drained, old Nginx workers gone", n.ID), milliseconds(drained.Sub(began)))
	return nil
}

func (st *story) unfreeze(ctx context.Context, n *Node) error {
	began := time.Now()
	if _, err := st.site.Pool().Unfreeze(ctx, n.ID, actor); err != nil {
		return err
	}
	if err := st.firstRequest(ctx, n, began, "unfreeze"); err != nil {
		return err
	}
	return st.allServe(ctx)
}

// kill takes a node's power: no leave, no freeze, connections reset. Nginx tries the others where that is safe, and
// lbd takes the node out once its heartbeat has expired.
func (st *story) kill(ctx context.Context, n *Node) error {
	began := time.Now()
	if err := st.site.KillNode(n.ID); err != nil {
		return err
	}
	st.say("%s killed: connections reset, port closed, its agent silent", n.ID)
	err := st.see(ctx, func() error {
		s, err := st.site.LBStatus(ctx)
		if err != nil {
			return err
		}
		if serving(&s)[n.ID] || s.Running != s.Wanted || len(s.Nodes) != len(st.site.Nodes()) {
			return errors.New("lbd has not taken it out")
		}
		return nil
	})
	if err != nil {
		return err
	}
	took := seconds(time.Since(began))
	st.say("%s taken out of Nginx after %s (heartbeats live %v)", n.ID, took, st.site.opts.HeartbeatTTL)
	st.figure(fmt.Sprintf("kill %s → out of Nginx's configuration", n.ID), took)
	return st.serve(ctx, st.others(n))
}

func (st *story) revive(ctx context.Context, n *Node) error {
	began := time.Now()
	if err := st.site.StartNode(ctx, n.ID); err != nil {
		return err
	}
	return st.firstRequest(ctx, n, began, "start")
}

// firstRequest waits for the first request that n gets after began, when somebody did what is called word.
func (st *story) firstRequest(ctx context.Context, n *Node, began time.Time, word string) error {
	err := st.see(ctx, func() error {
		if len(n.Starts(began)) == 0 {
			return errors.New("it gets no request")
		}
		return nil
	})
	if err != nil {
		return err
	}
	took := milliseconds(n.Starts(began)[0].Sub(began))
	st.say("%s serves again after %s", n.ID, took)
	st.figure(fmt.Sprintf("%s %s → its first request", word, n.ID), took)
	return nil
}

// see asks until the effect shows.
func (st *story) see(ctx context.Context, effect func() error) error {
	within := st.within + st.site.opts.HeartbeatTTL
	deadline := time.Now().Add(within)
	for {
		err := effect()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w (after %v)", err, within)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-st.site.Failed():
			return err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (st *story) others(n *Node) []*Node {
	return slices.DeleteFunc(slices.Clone(st.site.Nodes()), func(other *Node) bool { return other == n })
}

func (st *story) say(format string, args ...any) {
	fmt.Fprintf(st.out, "%6.1f s  %s\n", time.Since(st.began).Seconds(), fmt.Sprintf(format, args...))
}

func (st *story) figure(what, value string) { st.figures = append(st.figures, [2]string{what, value}) }
