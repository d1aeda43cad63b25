package lbd

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// acks is what was said last, and when to say it again.
type acks struct {
	last pool.Ack
	said time.Time
	next time.Time

	master int // nginx's master then
}

const (
	ackTimeout   = time.Second            // for one write; a stalled Redis must not hold up an apply for longer
	drainingPoll = 10 * time.Millisecond  // how often to look for old workers while there are any
	drainingSlow = 500 * time.Millisecond // … once they have taken more than drainingSoon
	drainingSoon = time.Second
)

// ackTTL is how long an ack holds: a load balancer that says nothing for so long is silent.
func (l *LB) ackTTL() time.Duration { return max(3*l.cfg.Timing.Resync, 15*time.Second) }

// ack says in Redis what is proven to be served, when that changed or the last word grows old.
func (l *LB) ack(ctx context.Context) {
	now := time.Now()
	if ctx.Err() != nil {
		return
	}
	state, err := l.engine.State(ctx)
	l.board.nginx(state, err)
	l.metrics.nginx(state)
	if state.Master != l.acks.master {
		// Nginx was started or replaced: find out whether it serves what it should.
		l.acks.master, l.lastCheck = state.Master, time.Time{}
		l.agenda.now()
	}
	a := pool.Ack{ID: l.cfg.ID, Rev: l.rev, Generation: l.running.N, Held: l.held, Draining: state.Draining, Apply: "reload"}
	a.Host, _ = os.Hostname() // for people; empty will do
	if l.lastErr != nil {
		a.Error = l.lastErr.Error()
	}
	l.acks.next = now.Add(l.ackTTL() / 3)
	switch {
	case state.Master == 0:
		l.acks.next = now.Add(drainingSlow)
	case state.Draining > 0:
		l.acks.next = now.Add(drainingPoll)
		if now.Sub(l.lastApply) > drainingSoon {
			l.acks.next = now.Add(drainingSlow)
		}
	}
	if same(a, l.acks.last) && now.Sub(l.acks.said) < l.ackTTL()/3 || l.lookFails.n > 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	err = l.pool.WriteAck(ctx, a, l.ackTTL())
	l.metrics.acked(time.Since(now))
	if l.say.change("ack", err, "can't say in redis what is served", "redis knows again what is served"); err == nil {
		l.acks.last, l.acks.said = a, now
	} else {
		l.acks.next = now.Add(time.Second)
	}
}

func same(a, b pool.Ack) bool {
	return a.Rev == b.Rev && a.Generation == b.Generation && a.Draining == b.Draining && a.Error == b.Error && slices.Equal(a.Held, b.Held)
}
