package ctl

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// rollout is a run of update.
type rollout struct {
	s    *session
	u    *updating
	plan *plan
	sign *signer
	to   map[string]target

	news    chan stage
	picture *rolling
	failed  []string
	others  []string // frozen by somebody else meanwhile, and left so
	stopped error    // why nothing more is begun
	code    int
}

// run updates batch after batch. ctx's end, the first Ctrl-C, lets the batch at hand finish.
func (r *rollout) run(ctx context.Context) error {
	targets, err := r.s.targets(ctx, r.plan.ids(), r.sign)
	if err != nil {
		return err
	}
	r.to = map[string]target{}
	for _, t := range targets {
		if t.cant != nil {
			return &cli.Error{Code: cli.Refused, Err: fmt.Errorf("%s: %w; nothing was done", t.id, t.cant)}
		}
		r.to[t.id] = t
	}
	hard, release := secondSignal(ctx)
	defer release()
	r.picture = newRolling(r)
	r.s.say("update %s: %s, %d at a time; at least %d stay in service", r.plan.run, plural(len(r.plan.todo), "node"), r.plan.size, r.plan.least)
	var all outcomes
	for rest := r.plan.todo; len(rest) > 0; {
		batch := rest[:min(r.plan.size, len(rest))]
		if err := r.next(ctx, batch, len(all) == 0); err != nil {
			r.stopped = err
			break
		}
		rest = rest[len(batch):]
		all = append(all, r.batch(ctx, hard, batch)...)
		if r.stopped == nil && len(r.failed) > r.u.maxFailures {
			r.stopped = fmt.Errorf("%s failed", plural(len(r.failed), "node"))
		}
		if r.stopped != nil {
			break
		}
	}
	r.picture.end()
	return r.end(r.plan.outcomes(all))
}

// next waits between two batches, and says why the next must not begin.
func (r *rollout) next(ctx context.Context, batch []planned, first bool) error {
	if !first {
		r.picture.pause(ctx, r.u.pause)
	}
	if ctx.Err() != nil {
		r.code = max(r.code, cli.Failed)
		return errors.New("interrupted")
	}
	return r.s.redis(ctx, func(ctx context.Context, p *pool.Pool) error {
		snap, err := p.Snapshot(ctx)
		if err != nil {
			return err
		}
		if err = r.plan.enough(snap, batch); err != nil {
			r.code = max(r.code, cli.Refused)
		}
		return err
	})
}

// batch updates some nodes at once and shows how far each is.
func (r *rollout) batch(soft, hard context.Context, batch []planned) (all outcomes) {
	r.news = make(chan stage)
	outs := make([]outcome, len(batch))
	var wg sync.WaitGroup
	for i, n := range batch {
		wg.Go(func() { outs[i] = r.node(hard, n) })
	}
	go func() {
		wg.Wait()
		close(r.news)
	}()
	r.picture.watch(soft, r.news)
	for _, out := range outs {
		if out.others {
			r.others = append(r.others, out.ID)
		}
		if out.code != cli.Done {
			r.failed = append(r.failed, out.ID)
			r.code = max(r.code, out.code)
		}
		if out.code == cli.Deadline { // what is wrong is not this node alone
			r.stopped = fmt.Errorf("the load balancers were not done with %s in time", out.ID)
		}
	}
	if hard.Err() != nil {
		r.stopped = errors.New("interrupted")
	}
	return outs
}

// stage is news of one node: what is done now, what is said of it meanwhile, a note, or in the end the outcome.
type stage struct {
	id, name, detail string
	note             string // to be said for good
	out              *outcome
}

// Names of stages.
const (
	freezing = "freezing"
	draining = "draining"
	doing    = "updating"
	checking = "checking its health"
	thawing  = "unfreezing"
	serving  = "waiting to be served"
)

// node takes one node through all stages. ctx ends at the second Ctrl-C.
func (r *rollout) node(ctx context.Context, n planned) (out outcome) {
	began := time.Now()
	at := freezing
	step := func(name string) {
		at = name
		r.news <- stage{id: n.ID, name: name}
	}
	out = outcome{ID: n.ID}
	err := r.steps(ctx, &n, &out, step)
	out.Seconds = time.Since(began).Seconds()
	var others *pool.OthersFreezeError
	switch {
	case err == nil:
		out.Result, out.text = updated, fmt.Sprintf("updated (%.1f s)%s", out.Seconds, n.after())
	case errors.As(err, &others) && at == freezing:
		out = out.meanwhile(skipped, "left out", others)
	case errors.As(err, &others):
		out = out.meanwhile(updated, fmt.Sprintf("updated (%.1f s)", out.Seconds), others)
	case ctx.Err() != nil:
		out = out.fail(string(pool.Interrupted), "interrupted while %s; %s", at, leftIn(at, n.keep, err))
	default:
		out = r.failedAt(out, n, at, err)
	}
	r.news <- stage{id: n.ID, out: &out}
	return out
}

func (r *rollout) steps(ctx context.Context, n *planned, out *outcome, step func(string)) error {
	if err := r.lookAgain(ctx, n); err != nil {
		return err
	}
	p, rev := r.s.pool, n.Rev
	if !n.keep {
		step(freezing)
		c, err := r.freeze(ctx, *n)
		if err != nil {
			return err
		}
		rev = c.Rev
	}
	step(draining)
	if err := r.drain(ctx, n.ID, rev); err != nil {
		return err
	}
	step(doing)
	if err := r.order(ctx, *n, out); err != nil {
		return err
	}
	step(checking)
	if err := r.well(ctx, *n); err != nil {
		return err
	}
	if n.keep {
		return nil
	}
	step(thawing)
	c, err := p.UnfreezeRun(ctx, n.ID, r.s.as, r.mark(""))
	if err != nil {
		return err
	}
	if c.Own != "" {
		return fmt.Errorf("it has frozen itself again: %s", c.Own)
	}
	step(serving)
	ctx, cancel := context.WithTimeout(ctx, r.u.drainTimeout)
	defer cancel()
	err = p.WaitServed(ctx, c.Rev, []string{n.ID}, r.report(n.ID))
	if r.u.force && unseen(err) {
		r.news <- stage{id: n.ID, note: "goes on by --force, not known to be served everywhere: " + waited(err)}
		return nil
	}
	return err
}
