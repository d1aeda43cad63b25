package lbd

import (
	"context"
	"time"
)

// loop is the whole life of lbd: wait for a moment on the agenda, look, plan, apply, ack.
func (l *LB) loop(ctx context.Context) error {
	l.agenda.now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.agenda.changed:
		case <-timer.C:
		}
		if l.agenda.due(time.Now()) {
			began := time.Now()
			l.turn(ctx)
			l.rest(ctx, time.Since(began))
		}
		l.ack(ctx)
		timer.Reset(time.Until(l.nextMoment()))
	}
}

// turn is one look and what follows from it.
func (l *LB) turn(ctx context.Context) {
	l.refreshTemplates()
	f, err := l.look(ctx)
	if ctx.Err() != nil {
		return
	}
	if l.say.change("redis", err, "can't look at the pool: nginx keeps what it serves", "the pool can be looked at again"); err != nil {
		l.agenda.only(l.lookFails.failed(time.Now(), ""))
		l.board.away(err)
		return
	}
	l.lookFails.reset()
	now := time.Now()
	p := l.plan(f, l.usable(now), now)
	if l.refused != nil {
		p.Errors = append(p.Errors, l.refusalError())
	}
	l.say.change("templates in use", joined(p.Errors), "a template can't be used: the version proven before stays", "all templates can be used again")
	l.sayHeld(p)
	p = l.settle(ctx, f, p)
	l.board.looked(l, f, p)
	l.metrics.looked(l, p)
	l.plannedLooks(now, f)
	l.own.refresh(l.acks.master, now, l.cfg.Timing.Resync) // after the apply: it costs some milliseconds
}

// plannedLooks puts on the agenda what will change by itself.
func (l *LB) plannedLooks(now time.Time, f *facts) {
	l.agenda.at(now.Add(l.cfg.Timing.Resync))
	if t := f.expires(); !t.IsZero() {
		// Redis counts a TTL in whole milliseconds: just after the key has gone.
		l.agenda.at(t.Add(5 * time.Millisecond))
	}
	for _, u := range l.upstreams {
		if !u.history.heldSince.IsZero() {
			if end := u.history.heldSince.Add(l.cfg.Guard.Hold); end.After(now) {
				l.agenda.at(end)
			}
		}
	}
}

// rest keeps a flood of events from making lbd and Redis busy: a look that changed nothing is followed by a pause of
// four times its length, so that lbd takes a fifth of a core at most. A normal look takes one or two milliseconds.
func (l *LB) rest(ctx context.Context, took time.Duration) {
	const most = 50 * time.Millisecond
	select {
	case <-ctx.Done():
	case <-time.After(min(4*took, most)):
	}
}

// nextMoment is when the loop has something to do next.
func (l *LB) nextMoment() time.Time {
	next := l.acks.next
	if t, ok := l.agenda.next(); ok && t.Before(next) {
		next = t
	}
	return next
}
