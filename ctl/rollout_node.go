package ctl

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// order has the node's agent carry out "update". One that this run has sent before is not sent twice: it is waited for.
func (r *rollout) order(ctx context.Context, n planned, out *outcome) error {
	if n.sent != nil {
		out.Command = n.sent.ID
		if n.sent.State == pool.Succeeded {
			return nil
		}
		wait, cancel := context.WithTimeout(ctx, r.u.deadline)
		defer cancel()
		res, err := r.s.pool.WaitResult(wait, n.sent.ID, nil)
		return r.judge(ctx, out.read("update", res, err))
	}
	args := map[string]any{"run": r.plan.run}
	o := order{verb: "update", kind: "update", args: args, for_: r.u.deadline, id: func() string { return r.plan.run + "-" + rand.Text() }}
	got := r.ask(ctx, n, o)
	out.Command, out.Type, out.ExitCode, out.Stdout, out.Stderr, out.Output = got.Command, got.Type, got.ExitCode, got.Stdout, got.Stderr, got.Output
	return r.judge(ctx, got)
}

// ask sends one command to the node, as any verb does.
func (r *rollout) ask(ctx context.Context, n planned, o order) outcome {
	return r.s.one(ctx, r.sign, o, r.to[n.ID], false, func(res pool.Result) {
		r.news <- stage{id: n.ID, detail: o.verb + " " + string(res.State)}
	})
}

func (r *rollout) judge(ctx context.Context, got outcome) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case got.Result == string(pool.Succeeded):
		return nil
	case got.Result == string(pool.Refused), got.Result == string(pool.Expired), got.Command == "":
		return &notBegun{got.text}
	}
	return errors.New(got.text)
}

// notBegun is errNotBegun with the reason.
type notBegun struct{ why string }

func (e *notBegun) Error() string        { return e.why }
func (e *notBegun) Is(target error) bool { return target == errNotBegun }

// well waits until the node's health checks pass and it is not frozen by itself any more: after an update an
// application takes its time.
func (r *rollout) well(ctx context.Context, n planned) error {
	wait, cancel := context.WithTimeout(ctx, r.u.healthTimeout)
	defer cancel()
	const again = time.Second
	why := ""
	for {
		got := r.ask(wait, n, order{verb: "health check", kind: "health_check", for_: min(30*time.Second, r.u.healthTimeout), unlisted: true})
		err := r.judge(wait, got)
		if err == nil && !r.to[n.ID].python { // its handlers answer what they like
			err = allPassed(got.Output)
		}
		if err == nil {
			var now *pool.Node
			if now, err = r.s.pool.Node(wait, n.ID); err == nil && now.SelfFreeze != "" {
				err = fmt.Errorf("it keeps itself frozen: %s", now.SelfFreeze)
			}
		}
		if err == nil {
			return nil
		}
		if wait.Err() == nil {
			why = err.Error()
			r.news <- stage{id: n.ID, detail: why}
		}
		select {
		case <-wait.Done():
			if why == "" {
				why = "its agent does not answer"
			}
			return fmt.Errorf("not well within %s: %s", r.u.healthTimeout, why)
		case <-time.After(again):
		}
	}
}

// report hands on what a wait for load balancers says.
func (r *rollout) report(id string) func([]pool.Blocker) {
	return func(blockers []pool.Blocker) { r.news <- stage{id: id, detail: blocking(blockers)} }
}

func blocking(blockers []pool.Blocker) string {
	var parts []string
	for _, b := range blockers {
		parts = append(parts, strings.TrimPrefix(b.LB+": "+b.Why, ": "))
	}
	return strings.Join(parts, "; ")
}

// drain waits until no load balancer sends to the node; with --force, no longer than the time for it. A node that is back
// in traffic is not forced.
func (r *rollout) drain(ctx context.Context, id string, rev int64) error {
	wait, cancel := context.WithTimeout(ctx, r.u.drainTimeout)
	defer cancel()
	err := r.s.pool.WaitDrained(wait, rev, []string{id}, r.report(id))
	var back *pool.UnfrozenError
	if err != nil && r.u.force && ctx.Err() == nil && !errors.As(err, &back) {
		r.news <- stage{id: id, note: "goes on by --force, not drained: " + waited(err)}
		return nil
	}
	return err
}

// unseen reports whether a wait ended with nothing but load balancers of which nobody knows what they serve.
func unseen(err error) bool {
	var we *pool.WaitError
	if !errors.As(err, &we) {
		return errors.Is(err, pool.ErrNoLB)
	}
	return errors.Is(err, context.DeadlineExceeded) && len(we.Blockers) > 0 &&
		!slices.ContainsFunc(we.Blockers, func(b pool.Blocker) bool { return !b.Unseen })
}

// waited says what a wait for load balancers ended with.
func waited(err error) string {
	var we *pool.WaitError
	if errors.As(err, &we) && len(we.Blockers) > 0 {
		return blocking(we.Blockers)
	}
	return err.Error()
}
