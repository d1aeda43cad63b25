package resolvers

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// lookup asks about names and returns a finding for each, in their order, soon after ctx has ended at the latest.
type lookup func(ctx context.Context, asks []question) []finding

// The order in which names are looked up. A name that keeps failing waits behind all others, so that a thousand of
// them do not delay one that is new by more than it takes for one look-up to end.
const (
	missing = iota // Resolve waits for it
	renewal        // its time will be over soon
	retry          // it failed before
	levels
)

// queue is called with mu held, as are all functions here that say nothing else.
func (c *Cache) queue(e *entry, level int, now time.Time) {
	e.pending, e.since = true, now
	c.queues[level] = append(c.queues[level], e)
}

func (c *Cache) queued() int {
	n := 0
	for _, q := range c.queues {
		n += len(q)
	}
	return n
}

// start sees to it that what is queued is looked up. The look-ups outlive the call that began them: Close ends them.
func (c *Cache) start(ctx context.Context) {
	if c.queued() == 0 {
		return
	}
	if c.stop == nil {
		ctx, c.stop = context.WithCancel(context.WithoutCancel(ctx))
		c.finished.Go(func() { c.run(ctx) })
	}
	select {
	case c.poke <- struct{}{}:
	default:
	}
}

// run begins look-ups until ctx ends.
func (c *Cache) run(ctx context.Context) {
	ticker := time.NewTicker(sweeping)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.poke:
		case <-ticker.C:
		}
		c.mu.Lock()
		c.sweep(time.Now())
		lookups := (c.queued() + c.limits.batch - 1) / c.limits.batch
		for range min(lookups, c.limits.parallel-c.working) {
			c.working++
			c.finished.Go(func() { c.work(ctx) })
		}
		c.mu.Unlock()
	}
}

// sweep queues what is due, drops what nobody asks about any more, and tells news that has waited.
func (c *Cache) sweep(now time.Time) {
	c.tell(now)
	if now.Before(c.next) {
		return
	}
	c.next = now.Add(forget)
	renewed := false
	for id, e := range c.entries {
		switch {
		case e.pending:
		case now.Sub(e.asked) > forget:
			delete(c.entries, id)
		case !now.Before(e.due):
			renewed = true
			c.renew(e, now)
		case e.due.Before(c.next):
			c.next = e.due
		}
	}
	if renewed && c.limits.batch > 1 { // one run for all
		for _, e := range c.entries {
			if !e.pending {
				c.renew(e, now)
			}
		}
	}
}

func (c *Cache) renew(e *entry, now time.Time) {
	level := renewal
	if e.failures > 0 {
		level = retry
	}
	c.queue(e, level, now)
}

// work looks up, without the lock, until the queues are empty.
func (c *Cache) work(ctx context.Context) {
	for {
		batch, asks := c.take(ctx)
		if len(batch) == 0 {
			return
		}
		found := c.find(ctx, asks)
		c.learn(batch, found, time.Now())
	}
}

// take takes the lock, and the first names off the queues; none when the worker is to end.
func (c *Cache) take(ctx context.Context) (batch []*entry, asks []question) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() != nil {
		c.working--
		return nil, nil
	}
	for level := range c.queues {
		q := &c.queues[level]
		n := min(len(*q), c.limits.batch-len(batch))
		batch = append(batch, (*q)[:n]...)
		if *q = (*q)[n:]; len(*q) == 0 {
			*q = nil
		}
	}
	if len(batch) == 0 {
		c.working--
	}
	for _, e := range batch {
		asks = append(asks, question{e.id, e.had})
	}
	return batch, asks
}

// find is one look-up, bounded in time; one that panics cannot know. No lock is held.
func (c *Cache) find(ctx context.Context, asks []question) (found []finding) {
	late := fmt.Errorf("no answer within %v", c.limits.timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, c.limits.timeout, late)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			found = slices.Repeat([]finding{{err: fmt.Errorf("panic: %v", p)}}, len(asks))
		}
	}()
	return c.look(ctx, asks)
}

// learn takes the lock and takes in what a look-up found.
func (c *Cache) learn(batch []*entry, found []finding, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, e := range batch {
		e.learn(found[i], c.limits.ttl, now)
		e.pending = false
		if e.due.Before(c.next) {
			c.next = e.due
		}
		for _, w := range e.waiters {
			if w.left--; w.left == 0 {
				close(w.done)
			}
		}
		e.waiters = nil
		c.news = c.news || e.differs(now)
	}
	c.tell(now)
}

// tell says over Changed that there is news: at once when nothing more is awaited, and in the midst of many look-ups
// now and then, for each time costs a look at all nodes.
func (c *Cache) tell(now time.Time) {
	const pause = 500 * time.Millisecond
	awaited := c.queued() > 0 || c.working > 1
	if !c.news || awaited && now.Sub(c.said) < pause {
		return
	}
	c.news, c.said = false, now
	select {
	case c.changed <- struct{}{}:
	default:
	}
}
