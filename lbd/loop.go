package lbd

import (
	"context"
	"fmt"
	"time"
)

// loop is the whole life of lbd: wait for a moment on the agenda, look, plan, apply, ack. What of these is cut off by the end
// of ctx has found out nothing: it is neither said nor acted upon.
func (l *LB) loop(ctx context.Context) error {
	l.agenda.now()
	l.notify.Ready()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			l.saveNext = time.Time{}
			l.save()
			return nil
		case <-l.agenda.changed:
		case <-timer.C:
		}
		var rest time.Duration
		if now := time.Now(); l.agenda.due(now) || !now.Before(l.planned) {
			began, applied, running := time.Now(), l.lastApply, l.running
			l.turn(ctx)
			if l.lastApply.Equal(applied) && l.running == running {
				rest = l.pace.rest(time.Since(began), time.Now())
			}
		}
		l.ack(ctx)
		l.save()
		l.progress()
		if l.told() {
			l.agenda.now()
		}
		pause(ctx, rest)
		timer.Reset(time.Until(l.nextMoment()))
	}
}

// progress says that lbd is at work, in the middle of a turn: some hold many steps, each with a time limit of its own.
func (l *LB) progress() {
	l.notify.Alive()
	l.board.moves()
}

// turn is one look and what follows from it.
func (l *LB) turn(ctx context.Context) {
	l.refreshTemplates()
	l.controls()
	l.rechoose(ctx)
	f, err := l.look(ctx)
	if ctx.Err() != nil {
		return
	}
	if l.say.change("redis", err, "can't look at the pool: nginx keeps what it serves", "the pool can be looked at again"); err != nil {
		l.planned = l.lookFails.failed(time.Now(), "")
		l.agenda.clear()
		l.sight.failed()
		l.board.away(err)
		l.stand(ctx)
		return
	}
	l.lookFails.reset()
	l.probe(ctx, f)
	now := time.Now()
	p := l.plan(f, l.usable(now), now)
	if l.refused != nil {
		p.Errors = append(p.Errors, l.refusalError())
	}
	l.sayTemplates(p)
	l.noteHolds(p)
	l.putPin(p)
	p = l.settle(ctx, f, p)
	l.remember(p)
	l.refuses = p.refusals()
	l.board.looked(l, f, p)
	l.metrics.looked(p)
	l.notify.Status(p.summary(l.running))
	l.planLook(now, f, p)
}

// planLook plans the next look at what changes by itself: in place of the one that was planned before, for the facts are
// others now.
func (l *LB) planLook(now time.Time, f *facts, p *Plan) {
	next := now.Add(l.cfg.Timing.Resync)
	sooner := func(t time.Time) {
		if t.After(now) && t.Before(next) {
			next = t
		}
	}
	if t := f.expires(); !t.IsZero() {
		// Redis counts a TTL in whole milliseconds: just after the key has gone. What should have gone during this look is
		// looked at again just after it.
		const after = 10 * time.Millisecond
		if t = t.Add(after); !t.After(now) {
			t = now.Add(after)
		}
		sooner(t)
	}
	for _, v := range p.Guard {
		sooner(v.until)
	}
	l.planned = next
}

// stand keeps Nginx at what it was last proven to serve while the pool can't be looked at: over lbd's own restart, over
// one of Nginx, and when somebody touches what lbd wrote.
func (l *LB) stand(ctx context.Context) {
	if l.last == nil {
		return
	}
	p := &Plan{Rev: l.rev, standing: true}
	l.putLast(p)
	l.orphaned(p, nil)
	l.putPin(p)
	l.settle(ctx, nil, p)
	l.remember(p)
	l.board.stood(l, p)
}

// putLast fills p with what was served last. What Nginx would ask lbd for is rendered anew where lbd does not answer any more,
// as with another nginx.live than then: an Nginx that is started would have no server.
func (l *LB) putLast(p *Plan) {
	l.last.put(p, l.upstreams)
	l.chosen.seat = ""
	for i, f := range p.Files {
		u := l.writes(f.Path)
		if !asked(f.Data) || l.chosen.answers() {
			continue
		}
		f, err := l.render(u, p.Sets[u.Name], l.usable(time.Now()))
		if err != nil {
			p.Errors = append(p.Errors, fmt.Errorf("upstream %s asks lbd for its servers, which does not answer as it is configured now, and can't be rendered without: %w", u.Name, err))
			continue
		}
		p.Files[i] = f
	}
	p.hash = hashOf(p.Files)
}

// pace spaces looks that applied nothing, so that a flood of events makes neither lbd nor Redis busy: each has to be
// followed by a rest four times as long as it took, a millisecond or two, more with thousands of nodes. Some may be owed, so
// that a change after a time of quiet never meets a rest.
type pace struct {
	owed time.Duration
	at   time.Time
}

const restMost = 200 * time.Millisecond // that may be owed, and for one rest

func (p *pace) rest(look time.Duration, now time.Time) time.Duration {
	p.owed = max(p.owed-now.Sub(p.at), 0) + 4*look
	p.at = now
	return min(max(p.owed-restMost, 0), restMost)
}

func pause(ctx context.Context, d time.Duration) {
	if d > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
	}
}

// nextMoment is when the loop has something to do next.
func (l *LB) nextMoment() time.Time {
	next := l.acks.next
	if l.planned.Before(next) {
		next = l.planned
	}
	if l.last != nil && !l.lastKept && l.saveNext.Before(next) {
		next = l.saveNext
	}
	if t, ok := l.agenda.next(); ok && t.Before(next) {
		next = t
	}
	return next
}
