package lbd

import (
	"sync/atomic"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// After a start, after a reconnection and after a look that took long, Redis may know less than is true: agents have
// not been able to say that they live, or to say it again to a Redis that forgot them. For one heartbeat TTL, what is
// merely missing or expired stays.

const (
	slowLook = 2 * time.Second // a look that took longer than this has seen a Redis that stood still

	// A heartbeat's TTL until a longer one was seen: the default of our agents and of Python's. And the most that counts.
	ttlUnknown = 30 * time.Second
	ttlMost    = 5 * time.Minute
)

// sight is how well lbd has had Redis in view.
type sight struct {
	back atomic.Pointer[time.Time] // when events were heard again; written by hear

	since time.Time     // since when it is in view without a break; zero: not seen yet
	lost  bool          // the last look failed
	rev   int64         // of the last look
	ttl   time.Duration // the longest that a heartbeat had left when it was looked at
}

// failed notes a look that failed.
func (s *sight) failed() { s.lost = true }

// seen notes a look that began at the given time.
func (s *sight) seen(began time.Time, snap *pool.Snapshot) {
	now := time.Now()
	back := s.back.Load()
	switch {
	case s.since.IsZero(), s.lost, now.Sub(began) > slowLook,
		snap.Rev < s.rev: // Redis forgot: it was flushed, restarted empty, or a lagging replica took over
		s.since = now
	case back != nil && back.After(s.since):
		s.since = *back
	}
	s.lost, s.rev = false, snap.Rev
	for i := range snap.Nodes {
		if n := &snap.Nodes[i]; n.Alive && !n.Expires.IsZero() {
			s.ttl = min(max(s.ttl, n.Expires.Sub(snap.Taken)), ttlMost)
		}
	}
}

// grace is until when a node that is merely missing or expired may come back.
func (s *sight) grace() time.Time {
	if s.ttl == 0 {
		return s.since.Add(ttlUnknown)
	}
	return s.since.Add(s.ttl)
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
