package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// endReason is the node's own freeze while it drains.
const endReason = "drains: its agent stops"

// LeaveNow cuts a drain short: the node leaves without waiting for load balancers any longer. It may be called from any
// goroutine, at any time.
func (a *Agent) LeaveNow() { a.hurryOnce.Do(func() { close(a.hurry) }) }

// drain freezes the node and goes on beating until no load balancer sends to it any more, or DrainTimeout is over: a
// node that left at once would be stopped while requests are still on their way to it. ctx has ended: that is why. The
// error is a *pool.SupersededError; whatever else goes wrong, the node leaves all the same.
func (b *beater) drain(ctx context.Context) error {
	a := b.a
	limit := time.Duration(a.settings().DrainTimeout)
	b.until = time.Now().Add(limit)
	if limit == 0 {
		return nil
	}
	ctx, done := context.WithDeadline(context.WithoutCancel(ctx), b.until)
	defer done()
	var rev int64
	err := b.insist(func() (err error) { rev, err = b.beginDrain(ctx); return err })
	var newer *pool.SupersededError
	switch {
	case errors.As(err, &newer):
		return err
	case err != nil:
		a.sayDrained(err)
		return nil
	}
	a.log.Info("drains: waits for the load balancers", "rev", rev, "at_most", limit.String())
	go func() {
		select {
		case <-a.hurry:
			done()
		case <-ctx.Done():
		}
	}()
	waited := make(chan error, 1)
	go func() {
		defer done()
		waited <- a.pool.WaitDrained(ctx, rev, []string{a.cfg.NodeID}, a.followDrain(done))
	}()
	err = b.run(ctx)
	done()
	a.sayDrained(<-waited)
	return err
}

// insist tries until it succeeds, until more tries can't help, DrainTimeout is over or LeaveNow is called; once at least.
// No heartbeats are sent meanwhile: they would fail as well.
func (b *beater) insist(try func() error) error {
	a := b.a
	for {
		err := try()
		a.cfg.Notify.Alive()
		var newer *pool.SupersededError
		switch {
		case err == nil:
			a.outage.over()
			return nil
		case errors.As(err, &newer), errors.Is(err, pool.ErrNoLB), pool.Denied(err), !time.Now().Before(b.until):
			return err
		}
		a.outage.failed(err)
		select {
		case <-a.hurry:
			return err
		case <-time.After(min(a.outage.pause(b.reg.TTL), time.Until(b.until))):
		}
		if !time.Now().Before(b.until) {
			return err
		}
	}
}

// beginDrain takes the node out of traffic, if there is a load balancer to wait for, and returns the revision that says
// so.
func (b *beater) beginDrain(ctx context.Context) (rev int64, err error) {
	look, cancel := context.WithTimeout(ctx, b.a.callLimit)
	defer cancel()
	lbs, err := b.a.pool.LBs(look)
	if err != nil {
		return 0, err
	}
	if len(lbs) == 0 {
		return 0, pool.ErrNoLB
	}
	b.a.health.ends(endReason)
	if err := b.say(ctx); err != nil {
		return 0, err
	}
	return b.rev, nil
}

// heldMost is how long a drain goes on when all that is missing is guards that hold the node, as one of the last.
const heldMost = 5 * time.Second

// followDrain returns what tells the log and the service manager whom the drain waits for, when that has changed, and
// gives up after heldMost.
func (a *Agent) followDrain(giveUp func()) func([]pool.Blocker) {
	last, held := "", time.Now()
	return func(blockers []pool.Blocker) {
		if slices.ContainsFunc(blockers, func(b pool.Blocker) bool { return !b.Holds }) {
			held = time.Now()
		} else if time.Since(held) > heldMost {
			giveUp()
		}
		whom := make([]string, len(blockers))
		for i, b := range blockers {
			whom[i] = strings.TrimPrefix(b.LB+": "+b.Why, ": ")
		}
		if text := cli.Printable(strings.Join(whom, "; "), 300); text != last {
			last = text
			a.log.Debug("drains still", "waits_for", text)
			a.cfg.Notify.Status("draining, waits for " + text)
		}
	}
}

func (a *Agent) sayDrained(err error) {
	var missing *pool.WaitError
	switch {
	case err == nil:
		a.log.Info("drained: no load balancer sends anything any more")
	case errors.Is(err, pool.ErrNoLB):
		a.log.Info("leaves at once: no load balancer is known that could say when it is drained")
	case errors.As(err, &missing):
		a.log.Warn("leaves before it is drained: requests may be lost; `bbctl lbs` shows the load balancers, "+
			"`bbctl lbs forget ID` forgets one that is gone for good", "error", cli.Printable(err.Error(), 300))
	default:
		a.log.Warn("leaves before it is drained: requests may be lost", "error", err)
	}
}

// leave ends the membership. A node that a newer agent has is not ours to leave.
func (b *beater) leave(ctx context.Context) error {
	err := b.insist(func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.a.callLimit)
		defer cancel()
		return b.m.Leave(ctx, "agent stopped")
	})
	var newer *pool.SupersededError
	switch {
	case errors.As(err, &newer):
		return err
	case err != nil && !b.active:
		return fmt.Errorf("leave the pool: %w; the node is frozen, so it gets no traffic", err)
	case err != nil:
		return fmt.Errorf("leave the pool: %w; the node gets traffic until its heartbeat expires, within %v", err, b.reg.TTL)
	}
	b.a.log.Info("left the pool")
	return nil
}
