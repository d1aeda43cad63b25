package lbd

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// acks is what was said last, and when to say it again.
type acks struct {
	last pool.Ack
	said time.Time
	next time.Time
	due  bool // to be said though nothing is new

	unseen bool      // it answered, and its processes could not be seen
	master int       // nginx's master then
	rival  error     // another lbd has our id
	rivals time.Time // when it last wrote
}

const (
	ackTimeout   = time.Second            // for one write; a stalled Redis must not hold up an apply for longer
	nginxPoll    = time.Second            // how often to look whether Nginx still runs: a few reads of /proc
	drainingPoll = 10 * time.Millisecond  // how often to look for old workers while there are any
	drainingSlow = 500 * time.Millisecond // … once they have taken more than drainingSoon
	drainingSoon = time.Second
)

// ackTTL is how long an ack holds: a load balancer that says nothing for so long is silent.
func (l *LB) ackTTL() time.Duration { return max(3*l.cfg.Timing.Resync, 15*time.Second) }

// ack says in Redis what is proven to be served, when that changed or the last word grows old.
func (l *LB) ack(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	risk := l.secure()
	l.board.remembers(l.unkept())
	now := time.Now()
	state, blind := l.engine.State(ctx)
	if ctx.Err() != nil {
		return
	}
	looked := time.Since(now)
	l.seeNginx(state, blind)
	lacks, why := state.lacks(blind)
	a := pool.Ack{ID: l.cfg.ID, Host: l.host, Instance: l.instance, Rev: l.rev, Generation: l.running.N, Held: l.held,
		Blind: !state.Up() || !l.serving || l.renewed || blind != nil, Draining: state.Draining, Apply: "reload", Refused: l.refuses, Busy: state.Busy}
	if state.Live != "" {
		a.Apply, a.Live, a.Rev = "live", state.Live, l.revAt(state.Generation)
	}
	if risk != nil {
		a.Rev = min(a.Rev, l.secured)
	}
	for _, w := range state.Old {
		a.Old = append(a.Old, pool.OldWorker(w))
	}
	switch {
	case l.acks.rival != nil:
		a.Blind, a.Error = true, l.acks.rival.Error()
	case l.lastErr != nil:
		a.Error = l.lastErr.Error()
	case risk != nil:
		a.Error = risk.Error()
	case lacks != "":
		a.Error = lacks + ": " + why.Error()
	case state.Unseen && state.Draining > 0 && state.Endless:
		a.Error = "nginx's processes can't be seen, and its old workers were started without worker_shutdown_timeout: nobody can say when they have ended"
	default:
		a.Error = l.board.trouble()
	}
	l.acks.next = now.Add(nginxPoll)
	switch {
	case !state.Up():
		l.acks.next = now.Add(drainingSlow)
	case state.Draining > 0 || state.Live != "" && (state.Generation < l.running.N || len(l.unserved(state.Busy)) > 0):
		l.acks.next = now.Add(max(drainingPoll, 10*looked)) // a look may be long where a host has many connections
		if now.Sub(l.lastChange) > drainingSoon {
			l.acks.next = now.Add(drainingSlow)
		}
	}
	if !l.acks.due && l.same(a, l.acks.last) && now.Sub(l.acks.said) < l.ackTTL()/3 || l.lookFails.n > 0 {
		return
	}
	l.acks.due = false
	writing, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	before, err := l.pool.WriteAck(writing, a, l.ackTTL())
	if err != nil && ctx.Err() != nil {
		return
	}
	l.metrics.acked(time.Since(now), err)
	l.board.acked(err)
	l.say.change("ack", err, "can't say in redis what is served", "redis knows again what is served")
	if l.sight.refuses = pool.RefusesWrites(err); err != nil {
		l.acks.next = now.Add(time.Second)
		return
	}
	l.sight.wrote(before != "")
	l.seeRival(before)
	l.acks.last, l.acks.said = a, now
}

// lacks says in which way lbd does not know what Nginx does, and why; "" when it knows. err is what State returned with s.
func (s State) lacks(err error) (how string, why error) {
	switch {
	case err != nil && s.Up():
		return "nginx runs, and can't be asked what it does (changes go in by reloads if that lasts)", err
	case err != nil:
		return "lbd can't tell whether nginx runs", err
	case !s.Up():
		return "nginx is not running, as far as lbd can see", fmt.Errorf("%s (lbd doctor says what to do)", s.Why)
	}
	return "", nil
}

// seeNginx notes what Nginx does, and wakes the loop when it was started or replaced.
func (l *LB) seeNginx(state State, err error) {
	l.board.nginx(state, err)
	l.metrics.nginx(state.State)
	l.former = state.Former
	if state.Up() {
		endless := state.ShutdownTimeout == 0
		if endless && !l.endless {
			l.log.Warn("worker_shutdown_timeout is not set: a worker of a former configuration lives as long as its longest connection, and no drain is done before that",
				"fix", "worker_shutdown_timeout 60s; in "+l.cfg.Nginx.Conf+", beside worker_processes")
		}
		l.endless = endless
	}
	lacks, why := state.lacks(err)
	l.say.change("nginx", why, lacks, "nginx runs")
	if state.Lost {
		l.lastCheck = time.Time{}
		l.agenda.now()
	}
	if state.Master != l.acks.master || state.Unseen != l.acks.unseen {
		l.renewed = l.renewed || l.acks.master != 0                                         // until it was looked at
		l.acks.master, l.acks.unseen, l.lastCheck = state.Master, state.Unseen, time.Time{} // does it serve what it should?
		l.own.is(state.Master)
		l.agenda.now()
	}
}

// seeRival finds another lbd that uses our id: it has written after us. Its word and ours would be taken for one
// another's.
func (l *LB) seeRival(before string) {
	switch now := time.Now(); {
	case !l.acks.said.IsZero() && before != "" && before != l.instance:
		l.acks.rivals = now
		l.acks.rival = fmt.Errorf("another lbd has the id %s, too: %.80q (give each its own: id in the config, or --id)", l.cfg.ID, before)
	case now.Sub(l.acks.rivals) > l.ackTTL(): // it writes at least three times in that time
		l.acks.rival = nil
	}
	l.say.change("id", l.acks.rival, "two load balancers have one id: nobody can tell what either serves", "the id is ours alone")
	l.board.rival(l.acks.rival)
}

// same reports whether b says what a does, as far as somebody may wait for it.
func (l *LB) same(a, b pool.Ack) bool {
	return a.Rev == b.Rev && a.Generation == b.Generation && a.Draining == b.Draining && a.Blind == b.Blind && a.Error == b.Error && slices.Equal(a.Held, b.Held) &&
		slices.Equal(a.Refused, b.Refused) && slices.Equal(a.Old, b.Old) && a.Live == b.Live && maps.Equal(l.unserved(a.Busy), l.unserved(b.Busy))
}

// revOf is the revision of the pool that was served in full when a generation was in place.
type revOf struct{ generation, rev int64 }

const revsKept = 1000

func noteRev(list []revOf, r revOf) []revOf {
	if n := len(list); n > 0 && list[n-1].generation == r.generation {
		list[n-1] = r
		return list
	}
	if len(list) == revsKept {
		list = slices.Delete(list, 0, revsKept/2)
	}
	return append(list, r)
}

// revAt is the revision that is served when Nginx goes by the peers of a generation.
func (l *LB) revAt(generation int64) int64 {
	if generation >= l.running.N {
		return l.rev
	}
	for _, r := range slices.Backward(l.revs) {
		if r.generation <= generation {
			return min(r.rev, l.rev)
		}
	}
	return 0
}

// unserved is what is under way on nodes that get nothing any more.
func (l *LB) unserved(busy map[string]int) map[string]int {
	rest := map[string]int{}
	for id, n := range busy {
		served := id == ""
		for _, u := range l.upstreams {
			_, ok := u.history.newest()[id]
			served = served || ok
		}
		if !served {
			rest[id] = n
		}
	}
	return rest
}
