package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// work runs the commands of one lane until ctx ends.
func (c *commander) work(ctx context.Context, lane chan job) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-lane:
			if ctx.Err() != nil {
				c.unbegun(j)
				return
			}
			c.run(ctx, j)
		}
	}
}

// run carries one command out, if it is still to be.
func (c *commander) run(ctx context.Context, j job) {
	if !c.begin(ctx, &j) {
		return
	}
	j.result.Started = time.Now()
	h, known := c.a.knows(j.c.Type)
	var result any
	var err error
	if known {
		result, err = guarded(c.a.log, "handler of "+j.c.Type, func() (any, error) { return h(ctx, j.c) })
	} else {
		err = refuse("the program %s is gone from commands_dir", j.c.Type)
	}
	outcome(&j.result, result, err, ctx.Err() != nil)
	c.ended(ctx, j)
}

// begin waits for its turn to be confirmed, by Redis and the journal, and says whether to run.
func (c *commander) begin(ctx context.Context, j *job) bool {
	j.result = c.resultOf(*j)
	b, err := c.confirm(ctx, j)
	switch {
	case err != nil && ctx.Err() != nil:
		c.unbegun(*j)
		return false
	case err != nil:
		c.refuse(ctx, *j, err)
		return false
	case b.Before == pool.Running:
		j.result.State, j.result.Ended, j.result.Error = pool.Interrupted, time.Now(), fmt.Sprintf("begun by another run of this node's agent (instance %s), which did not say what came of it", b.Instance)
		c.ended(ctx, *j)
		return false
	case b.Before == pool.Unknown:
		// A newer freeze or unfreeze replaced it, somebody forgot the node, or Redis lost it.
		c.a.log.Info("command not run: it is not in hand any more", "command", j.t.Type, "id", j.t.ID)
		c.release(j.t.ID)
		return false
	case !b.Run:
		c.drop(ctx, j.t, fmt.Sprintf("%s %s is %s already: it is not run twice", j.t.Type, j.t.ID, b.Before))
		c.release(j.t.ID)
		return false
	}
	if j.keep.IsZero() {
		return true
	}
	err = c.a.state.journal.begin(entry{ID: j.t.ID, Type: j.t.Type, By: j.result.By, Begun: time.Now(), Keep: j.keep})
	if err != nil {
		c.refuse(ctx, *j, refuse("it can't be noted, so that it might run twice: %v", err))
	}
	return err == nil
}

// confirm asks Redis until it answers, the command may not be run any more, or ctx ends: while it waited it may have
// become too old, and SIGHUP may have taken its key away.
func (c *commander) confirm(ctx context.Context, j *job) (pool.Begun, error) {
	for {
		if err := c.judge(j); err != nil {
			return pool.Begun{}, err
		}
		if ahead := time.Until(j.c.Issued); j.signer != "" && ahead > 0 {
			if err := c.awaitIssue(ctx, j, ahead); err != nil {
				return pool.Begun{}, err
			}
			continue
		}
		call, cancel := context.WithTimeout(ctx, c.a.callLimit)
		b, err := c.a.pool.Begin(call, c.a.cfg.NodeID, c.a.instance, j.t)
		cancel()
		if err == nil {
			return b, nil
		}
		c.a.log.Debug("command waits for redis", "id", j.t.ID, "error", err)
		select {
		case <-ctx.Done():
			return b, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// awaitIssue waits until this node's clock says what the sender's said when it signed. So nothing that ran was issued after
// it ran, and an agent that lost its memory knows by that time alone what it may have run: see judge.
func (c *commander) awaitIssue(ctx context.Context, j *job, ahead time.Duration) error {
	if ahead > time.Second {
		c.a.log.Warn("command waits: it was issued ahead of this node's clock; are both clocks right?", "id", j.t.ID, "by", j.t.By, "ahead", ahead.Round(time.Millisecond).String())
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(ahead):
		return nil
	}
}

// ended notes what a command came to and tells it; what can't be told now is told later.
func (c *commander) ended(ctx context.Context, j job) {
	r := &j.result
	r.Error = cli.Printable(r.Error, 4<<10)
	if r.Ended.IsZero() && !r.Started.IsZero() {
		r.Ended = time.Now()
	}
	log := c.a.log.With("command", cli.Printable(r.Type, 64), "id", r.ID, "by", r.By, "took", r.Took().Round(time.Millisecond).String())
	if j.signer != "" {
		log = log.With("key", j.signer)
	}
	if r.State == pool.Succeeded {
		log.Info("command succeeded")
	} else {
		log.Warn("command "+string(r.State), "error", r.Error)
	}
	if err := c.a.state.journal.end(r.ID, r); err != nil {
		c.a.log.Error("the result of a command is not in the journal", "id", r.ID, "error", err)
	}
	c.tell(ctx, j)
}

// tell writes a result to Redis. Also after the end: a result that nobody reads is a command lost.
func (c *commander) tell(ctx context.Context, j job) {
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.a.callLimit)
	defer cancel()
	if err := c.a.pool.Finish(call, j.t, j.result); err != nil {
		c.a.log.Warn("the result of a command is not written yet", "id", j.result.ID, "error", err)
		c.mu.Lock()
		c.untold = append(c.untold, j)
		c.hand[j.result.ID] = true
		c.mu.Unlock()
		return
	}
	if err := c.a.state.journal.told(&j.result); err != nil {
		c.a.log.Error("the journal can't be written", "error", err)
	}
	c.release(j.result.ID)
}

// earlier is what a command came to that was begun before: in an earlier run, or as Redis has forgotten.
func (c *commander) earlier(e entry) pool.Result {
	r := pool.Result{ID: e.ID, Node: c.a.cfg.NodeID, Type: e.Type, By: e.By, Started: e.Begun}
	switch {
	case e.Result != nil:
		return *e.Result
	case !e.Ended:
		r.State, r.Ended = pool.Interrupted, time.Now()
		r.Error = "the agent ended in the middle of it; it may have done a part, and is not run again"
	case e.State == "": // noted by an agent that did not keep it
		r.State, r.Error = pool.Unknown, "it had ended before, and is not run again; redis lost what came of it"
	default:
		r.State, r.Ended, r.Error = e.State, e.Over, "it had ended before, and is not run again; redis lost what it said"
	}
	return r
}

func (c *commander) release(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.hand, id)
}
