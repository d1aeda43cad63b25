package ctl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// waiting are the flags of a verb that can wait for the load balancers.
type waiting struct {
	on       bool
	deadline time.Duration
}

func (w *waiting) bind(cmd *cobra.Command, usage string) {
	cmd.Flags().BoolVar(&w.on, "wait", false, usage)
	cmd.Flags().DurationVar(&w.deadline, "deadline", 30*time.Second, "with --wait: the longest to wait")
}

// check is a PreRunE.
func (w *waiting) check(cmd *cobra.Command, _ []string) error {
	switch {
	case !w.on && cmd.Flags().Changed("deadline"):
		return usagef(cmd, "--deadline says how long to --wait: give both")
	case w.deadline <= 0:
		return usagef(cmd, "--deadline %s is no time to wait (write 30s or 2m)", w.deadline)
	}
	return nil
}

// goal is what a verb waits for.
type goal struct {
	ids       []string
	done, not string // what is said of the nodes, in the end
	until     func(ctx context.Context, ids []string, report func([]pool.Blocker)) error
}

// drained is the goal for the nodes that are frozen now.
func (s *session) drained(all outcomes) goal {
	ids, rev := all.with(frozen, alreadyFrozen)
	return goal{ids, "drained, no load balancer sends to it any more", "not drained, stays frozen",
		func(ctx context.Context, ids []string, report func([]pool.Blocker)) error {
			return s.pool.WaitDrained(ctx, rev, ids, report)
		}}
}

// served is the goal for the nodes that are back.
func (s *session) served(all outcomes) goal {
	ids, rev := all.with(unfrozen, notFrozen)
	return goal{ids, "back, every load balancer serves the change", "unfrozen, but not served everywhere",
		func(ctx context.Context, ids []string, report func([]pool.Blocker)) error {
			return s.pool.WaitServed(ctx, rev, ids, report)
		}}
}

// wait waits for the goal, and notes in the outcomes of its nodes what came of it. Nodes that are back in traffic keep nobody
// from waiting for the others.
func (s *session) wait(ctx context.Context, all outcomes, g goal, deadline time.Duration, began time.Time) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	news := progress{s: s, began: time.Now(), said: map[string]string{}}
	for left := g.ids; len(left) > 0; {
		err := g.until(ctx, left, news.report)
		missed, not, code := left, g.not, cli.Failed
		var open []string // neither missed nor there yet
		var back *pool.UnfrozenError
		switch {
		case err == nil:
			missed = nil
		case errors.As(err, &back):
			missed, not = back.IDs(), "not drained"
			if !back.Drained {
				open = slices.DeleteFunc(slices.Clone(left), func(id string) bool { return slices.Contains(missed, id) })
			}
		case errors.Is(err, context.DeadlineExceeded):
			code = cli.Deadline
		}
		took := s.now().Sub(began).Seconds()
		for i := range all {
			out := &all[i]
			if !slices.Contains(left, out.ID) || slices.Contains(open, out.ID) {
				continue
			}
			confirmed := !slices.Contains(missed, out.ID)
			out.Confirmed = &confirmed
			switch {
			case !confirmed:
				out.code = max(out.code, code)
			case !s.output.data():
				fmt.Fprintf(s.stdout, "%s: %s (%.2f s)\n", out.ID, g.done, took)
			}
		}
		if err != nil {
			s.say("%s: %s: %s", strings.Join(missed, ", "), not, news.whyNot(err, deadline))
		}
		left = open
	}
}

// progress says who is missing and why: a line when a load balancer is new or its reason is.
type progress struct {
	s     *session
	began time.Time
	said  map[string]string // load balancer -> reason
}

// report is for a wait to call. What is done within a moment needs no words.
func (p *progress) report(blockers []pool.Blocker) {
	const moment = 300 * time.Millisecond
	if time.Since(p.began) >= moment {
		p.say(blockers)
	}
}

func (p *progress) say(blockers []pool.Blocker) (names []string) {
	for _, b := range blockers {
		name := b.LB
		if name == "" {
			name = "redis"
		}
		names = append(names, name)
		if p.said[name] != b.Why {
			p.said[name] = b.Why
			p.s.say("waiting for %s: %s", name, cli.Printable(b.Why, 300))
		}
	}
	return names
}

// whyNot says what ended a wait, and who was missing.
func (p *progress) whyNot(err error, deadline time.Duration) string {
	var we *pool.WaitError
	if !errors.As(err, &we) {
		return cli.Printable(err.Error(), 1000)
	}
	missing := p.say(we.Blockers)
	why := "interrupted"
	if errors.Is(err, context.DeadlineExceeded) {
		why = fmt.Sprintf("deadline of %s passed", deadline)
	}
	if len(missing) > 0 {
		why += ", missing: " + strings.Join(missing, ", ")
	}
	return why
}
