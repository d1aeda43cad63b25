package lbd

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/bazbeans/bazbeans/render"
)

// history is what an upstream was proven to serve, newest last. Sets older than the window are dropped, but never the
// newest.
type history struct {
	sets      []served
	heldSince time.Time // when too much was gone at once; zero: not so now
}

// served is one proven set: id -> server, those that are Down left out.
type served struct {
	at      time.Time
	servers map[string]render.Server
}

// verdict is what the guard makes of a wanted set.
type verdict struct {
	kept      []render.Server // servers that stay against the pool's word, sorted by id
	why       string          // "" when nothing is kept
	until     time.Time       // when it is looked at anew by itself; zero: only when the facts change, or by `lbd approve`
	heldSince time.Time       // for the history, whatever becomes of the plan
	believed  bool            // a hold ran out or was approved: once this set is served, what was before counts no more
}

func (v verdict) keptIDs() []string {
	ids := make([]string, len(v.kept))
	for i, s := range v.kept {
		ids[i] = s.ID
	}
	return ids
}

// about answers the guard's questions on ids that are served now and not wanted.
type about struct {
	gone     func(id string) bool // it went without anybody having wanted it
	lost     func(id string) bool // it is merely missing or expired
	alive    func(id string) bool
	approved func(id string) bool      // an operator on this host said that it may go
	grace    func(id string) time.Time // until then it may come back if it is lost; see sight
}

// judge decides what an upstream keeps though the pool says otherwise. It is pure.
//
// From many to none is suspicious: agents cut off from Redis, a flushed Redis or a failover look like a fleet that
// died, one by one or at once. So the wanted set is compared with the largest set proven within the window. If more
// than max_shrink of that is gone unasked (see fact.goneUnasked), what is served still and is gone is kept for `hold`,
// counted from the first look that said so; after that the facts are believed, unless fewer than min_nodes would be
// left. A hold that has begun goes on while anything of it is gone: those that come back one by one must not be what
// takes out the others. And freezes, which are somebody's will, stop at min_nodes: nodes of the present set stay, living
// ones first. Both of these last until the facts change, or until an operator on this host approves. Until its grace is
// over what is lost is kept, however little it is.
//
// Nothing is kept at an address at which a wanted server is: there it would be served twice.
func judge(cfg GuardConfig, now time.Time, h *history, want []render.Server, q about) verdict {
	current := h.without(want)
	up := upIDs(want)
	keep := map[string]bool{}
	var v verdict

	for id := range current {
		if end := q.grace(id); now.Before(end) && !up[id] && q.lost(id) {
			keep[id] = true
			if end.After(v.until) {
				v.until = end
			}
		}
	}
	v.why = fmt.Sprintf("%s missing since redis was lost sight of: kept until %s, for agents to come back",
		counted(len(keep), "node is", "nodes are"), v.until.Format(time.TimeOnly))

	base := h.largest(now, cfg.Window)
	missing := 0
	for id := range base {
		if !up[id] && q.gone(id) {
			missing++
		}
	}
	goneNow := slices.DeleteFunc(slices.Collect(maps.Keys(current)), func(id string) bool { return up[id] || !q.gone(id) })
	limit := float64(cfg.MaxShrink) / 100 * float64(len(base))
	if len(goneNow) > 0 && (float64(missing) > limit || !h.heldSince.IsZero()) {
		if v.heldSince = h.heldSince; v.heldSince.IsZero() {
			v.heldSince = now
		}
		tooFew := len(up) < cfg.MinNodes
		if tooFew {
			v.heldSince = now // its hold begins when somebody is there: the first to come back must not take out the others
		}
		if tooFew || now.Sub(v.heldSince) < cfg.Hold {
			v.until = v.heldSince.Add(cfg.Hold)
			v.why = fmt.Sprintf("%d of %d nodes went within %s, more than max_shrink %g%%: kept until %s have passed",
				missing, len(base), cfg.Window, float64(cfg.MaxShrink), cfg.Hold)
			switch {
			case float64(missing) <= limit && !tooFew:
				v.why = fmt.Sprintf("%s not back of those that went, %d of %d are missing: kept until %s have passed since",
					counted(len(goneNow), "node is", "nodes are"), missing, len(base), cfg.Hold)
			case tooFew:
				v.until = time.Time{}
				v.why = fmt.Sprintf("%d of %d nodes went, and fewer than min_nodes %d would be left: kept until the facts change",
					missing, len(base), cfg.MinNodes)
			}
			for _, id := range goneNow {
				keep[id] = true
			}
		} else {
			v.believed = true
		}
	}

	if short := min(cfg.MinNodes, len(current)) - len(up) - len(keep); short > 0 {
		rest := slices.DeleteFunc(slices.Sorted(maps.Keys(current)), func(id string) bool { return up[id] || keep[id] })
		slices.SortStableFunc(rest, func(a, b string) int { return rank(q.alive(a)) - rank(q.alive(b)) })
		for _, id := range rest[:min(short, len(rest))] {
			keep[id] = true
		}
		v.until = time.Time{}
		v.why = fmt.Sprintf("%s left, fewer than min_nodes %d: kept until the facts change",
			counted(len(up), "node is", "nodes are"), cfg.MinNodes)
	}

	ids := slices.Sorted(maps.Keys(keep))
	switch {
	case len(ids) == 0:
		v.why, v.until = "", time.Time{}
	case !slices.ContainsFunc(ids, func(id string) bool { return !q.approved(id) }):
		return verdict{believed: true}
	}
	for _, id := range ids {
		v.kept = append(v.kept, current[id])
	}
	return v
}

func counted(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

func rank(alive bool) int {
	if alive {
		return 0
	}
	return 1
}

func upIDs(servers []render.Server) map[string]bool {
	up := map[string]bool{}
	for _, s := range servers {
		if isUp(s) {
			up[s.ID] = true
		}
	}
	return up
}

// serve notes what is served from now on, by a plan with this verdict.
func (h *history) serve(now time.Time, window time.Duration, servers []render.Server, v verdict) {
	if v.believed {
		*h = history{}
	}
	h.add(now, window, servers)
}

func (h *history) add(now time.Time, window time.Duration, servers []render.Server) {
	set := served{at: now, servers: map[string]render.Server{}}
	for _, s := range servers {
		if isUp(s) {
			set.servers[s.ID] = s
		}
	}
	// A set counts for the window from when it ended, which is when the next one began.
	for len(h.sets) > 1 && now.Sub(h.sets[1].at) > window {
		h.sets = h.sets[1:]
	}
	same := func(a, b render.Server) bool { return a.Addr == b.Addr && a.Weight == b.Weight }
	if n := len(h.sets); n > 0 && maps.EqualFunc(h.sets[n-1].servers, set.servers, same) {
		h.sets[n-1].servers = set.servers // the same servers, with the labels of today
		return
	}
	h.sets = append(h.sets, set)
}

func (h *history) newest() map[string]render.Server {
	if len(h.sets) == 0 {
		return nil
	}
	return h.sets[len(h.sets)-1].servers
}

// without is the newest set, but for what stands at the address of another server of list.
func (h *history) without(list []render.Server) map[string]render.Server {
	at := make(map[netip.AddrPort]string, len(list))
	for _, s := range list {
		at[s.Addr] = s.ID
	}
	rest := make(map[string]render.Server, len(list))
	for id, s := range h.newest() {
		if other, taken := at[s.Addr]; !taken || other == id {
			rest[id] = s
		}
	}
	return rest
}

// largest is the largest set that was served at any moment of the window.
func (h *history) largest(now time.Time, window time.Duration) map[string]render.Server {
	most := h.newest()
	for i, s := range h.sets {
		if i+1 < len(h.sets) && now.Sub(h.sets[i+1].at) > window {
			continue
		}
		if len(s.servers) > len(most) {
			most = s.servers
		}
	}
	return most
}
