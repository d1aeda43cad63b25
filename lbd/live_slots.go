package lbd

import (
	"cmp"
	"slices"
	"time"

	"github.com/bazbeans/bazbeans/lbd/live"
)

// slotRest is for how long a slot stays its peer's after the last request on it has ended, and after it has gone: no worker
// can be about to begin one then.
const slotRest = time.Second

// slots gives each peer a slot that stays its own while requests may be under way on it, and knows since when peers serve.
type slots struct {
	upstreams map[string]*places
	fresh     bool // nothing was pushed yet to the Nginx that runs: all that is there was there before
}

// places are the slots of one upstream.
type places struct {
	name string
	of   map[live.Key]*slot
	free []int // below next
	next int
}

type slot struct {
	peer  live.Peer // as it was pushed last
	order int       // of the server lines
	idle  time.Time // since when it is gone and nothing is under way; zero: it is not
}

// place returns upstreams as they are to be pushed: with slots, slow starts, and those gone whose requests may go on. One
// that is not among them any more stays as it was pushed last: Nginx may use it as long as it runs, and lbd can't tell.
func (s *slots) place(upstreams []live.Upstream, starts map[string]time.Duration, now time.Time) []live.Upstream {
	if s.upstreams == nil {
		s.upstreams = map[string]*places{}
	}
	var list []live.Upstream
	named := map[string]bool{}
	for _, u := range upstreams {
		named[u.Name] = true
		list = append(list, live.Upstream{Name: u.Name, Peers: s.of(u.Name).put(u, starts[u.Name], s.fresh, now)})
	}
	for name, p := range s.upstreams {
		if !named[name] {
			list = append(list, live.Upstream{Name: name, Peers: p.last(), Former: true})
		}
	}
	s.fresh = false
	return list
}

func (s *slots) of(name string) *places {
	p := s.upstreams[name]
	if p == nil {
		p = &places{name: name, of: map[live.Key]*slot{}}
		s.upstreams[name] = p
	}
	return p
}

func (s *places) put(u live.Upstream, start time.Duration, fresh bool, now time.Time) []live.Peer {
	peers := make([]live.Peer, 0, len(u.Peers))
	here := make(map[live.Key]bool, len(u.Peers))
	for _, p := range u.Peers {
		key := p.Key(u.Name)
		here[key] = true
		was := s.of[key]
		if was == nil {
			was = &slot{peer: live.Peer{Slot: s.take(), Gone: true}}
			s.of[key] = was
		}
		p.Slot, p.SlowStart, p.Since = was.peer.Slot, start, was.peer.Since
		if start > 0 && !fresh && !p.Down && (was.peer.Gone || was.peer.Down) {
			p.Since = now.Truncate(time.Second)
		}
		was.peer, was.order, was.idle = p, len(peers), time.Time{}
		peers = append(peers, p)
	}
	for key, was := range s.of {
		if !here[key] {
			if !was.peer.Gone {
				was.peer.Gone, was.idle = true, time.Time{}
			}
			peers = append(peers, was.peer)
		}
	}
	return peers
}

// last are the peers as they were pushed last, in that order.
func (s *places) last() []live.Peer {
	peers := make([]live.Peer, 0, len(s.of))
	for _, is := range s.of {
		peers = append(peers, is.peer)
	}
	slices.SortFunc(peers, func(a, b live.Peer) int { return cmp.Compare(s.of[a.Key(s.name)].order, s.of[b.Key(s.name)].order) })
	return peers
}

// take returns a slot that is nobody's.
func (s *places) take() int {
	if n := len(s.free); n > 0 {
		last := s.free[n-1]
		s.free = s.free[:n-1]
		return last
	}
	s.next++
	return s.next - 1
}

// adopt takes over what Nginx goes by, which another run of lbd has pushed.
func (s *slots) adopt(m live.Message) {
	if s.upstreams != nil {
		return
	}
	s.upstreams = map[string]*places{}
	for _, u := range m.Upstreams {
		p := s.of(u.Name)
		taken := map[int]bool{}
		for i, peer := range u.Peers {
			p.of[peer.Key(u.Name)] = &slot{peer: peer, order: i}
			p.next = max(p.next, peer.Slot+1)
			taken[peer.Slot] = true
		}
		for n := range p.next {
			if !taken[n] {
				p.free = append(p.free, n)
			}
		}
	}
}

// idle gives back the slots of peers that are gone, as soon as nothing is under way on them any more.
func (s *slots) idle(busy map[live.Key]int, now time.Time) {
	for name, p := range s.upstreams {
		for key, is := range p.of {
			switch {
			case !is.peer.Gone:
			case busy[key] > 0:
				is.idle = time.Time{}
			case is.idle.IsZero():
				is.idle = now
			case now.Sub(is.idle) > slotRest:
				delete(p.of, key)
				p.free = append(p.free, is.peer.Slot)
			}
		}
		if len(p.of) == 0 {
			delete(s.upstreams, name)
		}
	}
}
