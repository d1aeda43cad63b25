package lbd

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// After a start, after a reconnection, after a look that took long and while no write is taken, Redis may know less than
// is true: agents have not been able to say that they live, or to say it again to a Redis that forgot them. For one heartbeat TTL, what is
// merely missing or expired stays.

const (
	slowLook = 2 * time.Second // a look that took longer than this has seen a Redis that stood still

	// The TTL of heartbeats that were not seen: the default of our agents and of Python's. And the most that counts.
	ttlUnknown = 30 * time.Second
	ttlMost    = 5 * time.Minute

	graceMost = 3 // TTLs
)

// sight is how well lbd has had Redis in view.
type sight struct {
	turned atomic.Pointer[time.Time] // when events were last heard no more, or heard again; written by hear

	since time.Time // since when it is in view without a break; zero: not seen yet
	lost  bool      // the last look failed
	// refuses: Redis took no write when lbd last tried one, so it takes no heartbeat either, however well it answers.
	refuses  bool
	rev      int64                    // of the last look
	acked    bool                     // we wrote an ack, and have not missed it since
	seenLast []string                 // the ids that it saw
	gone     map[string]time.Time     // by node that is served: when it was first missing
	ttl      map[string]time.Duration // by node: the longest that its heartbeat had left when it was looked at
}

// failed notes a look that failed.
func (s *sight) failed() { s.lost = true }

// seen notes a look that began at the given time.
func (s *sight) seen(began time.Time, snap *pool.Snapshot) {
	now := time.Now()
	turned := s.turned.Load()
	switch {
	case s.since.IsZero(), s.lost, s.refuses, now.Sub(began) > slowLook,
		snap.Rev < s.rev, s.acked && snap.Unacked: // Redis forgot: it was flushed, restarted empty, or a lagging replica took over
		s.since = now
	case turned != nil && turned.After(s.since):
		s.since = *turned
	}
	s.lost, s.rev, s.acked = false, snap.Rev, s.acked && !snap.Unacked
	if s.ttl == nil || len(s.ttl) > 1000+4*len(snap.Nodes) { // of nodes that are no more
		s.ttl = map[string]time.Duration{}
	}
	s.seenLast = make([]string, 0, len(snap.Nodes))
	for i := range snap.Nodes {
		s.seenLast = append(s.seenLast, snap.Nodes[i].ID)
		if n := &snap.Nodes[i]; n.Alive && !n.Expires.IsZero() {
			s.ttl[n.ID] = min(max(s.ttl[n.ID], n.Expires.Sub(snap.Taken)), ttlMost)
		}
	}
}

// wrote notes an ack that was written; was is whether Redis still had the one before.
//
// The revision alone does not tell that Redis forgot: the first agent to come back makes it higher than it ever was. Our ack
// does: nobody else writes it, and we do so three times within its TTL. If one is missing, to a look or when the next is
// written, Redis forgot; or we were silent for too long, or `bbctl lbs forget` took it away, which costs a needless grace.
// Each ack is missed once at most: an lbd that can write none sees no loss in that.
func (s *sight) wrote(was bool) {
	if s.acked && !was {
		s.since = time.Now()
	}
	s.acked = true
}

// probe writes our ack when a node that is served is about to be given up because it is missing: full, read-only or unable
// to save, Redis answers looks and takes no heartbeat.
func (l *LB) probe(ctx context.Context, f *facts) {
	index := make(map[string]*fact, len(f.nodes))
	for i := range f.nodes {
		index[f.nodes[i].ID] = &f.nodes[i]
	}
	now := time.Now()
	gone, over := map[string]time.Time{}, false
	for _, u := range l.upstreams {
		for id := range u.history.newest() {
			if !index[id].lostSight() {
				continue
			}
			if gone[id] = now; !l.sight.gone[id].IsZero() && !l.sight.refuses {
				gone[id] = l.sight.gone[id]
			}
			over = over || !now.Before(l.sight.grace(id))
		}
	}
	l.sight.gone = gone
	if !over {
		return
	}
	l.acks.due = true
	if l.ack(ctx); l.sight.refuses {
		l.sight.since = now
	}
}

// grace is until when a node that is merely missing or expired may come back: its own TTL counts, for what one node
// says of itself must not concern the others. However often Redis is lost sight of, it ends some TTLs after the node was
// first missing.
func (s *sight) grace(id string) time.Time {
	ttl, seen := s.ttl[id]
	if !seen {
		ttl = ttlUnknown
	}
	end := s.since.Add(ttl)
	if first := s.gone[id]; !first.IsZero() && first.Add(graceMost*ttl).Before(end) {
		return first.Add(graceMost * ttl)
	}
	return end
}

// lostSight reports whether the node is merely missing or expired, which is what a Redis that lost sight of it, or lost
// its memory, looks like. f is nil for a node that the pool does not know.
func (f *fact) lostSight() bool {
	if f == nil {
		return true
	}
	switch f.State() {
	case pool.Dead:
		return true
	case pool.Inactive:
		return !f.Left && !f.Alive
	}
	return false
}
