package lbd

import (
	"fmt"
	"net/netip"
	"time"
)

// recorded notes what came of writing g for a restart.
func (l *LB) recorded(g *saved, err error) {
	if l.recordErr = err; err == nil {
		l.record, l.vague = g, false
	}
}

// unremembered says what it means that what is served can't be remembered. Where nothing is kept a restart puts nobody back:
// Nginx goes on with its files.
func (l *LB) unremembered() string {
	drains := "no drain counts as done until it is, and "
	if l.record == nil && !l.vague {
		drains = ""
	}
	return "can't remember what is served: " + drains + "after a restart the guard begins anew"
}

// unkept is why what is served can't be remembered, with what that means; nil when it can.
func (l *LB) unkept() error {
	if l.recordErr == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", l.unremembered(), l.recordErr)
}

// secure makes sure that a restart of lbd, with Redis away, would put back no server that was taken out, before anybody is
// told that it is out. It returns what keeps it from that; the revision to tell of is l.secured then.
func (l *LB) secure() error {
	if l.last.drops(l.record) || l.last != nil && l.vague {
		if time.Now().Before(l.saveNext) {
			if l.recordErr == nil { // else save tries again, when it is time
				l.recorded(l.last, l.archive.note(l.last))
			}
		} else {
			l.save()
		}
		if l.recordErr != nil {
			return fmt.Errorf("can't remember what is served, and a restart of lbd might serve again what was taken out: %w", l.recordErr)
		}
	}
	l.secured = l.rev
	return nil
}

// drops reports whether a server that former sends to is not in g, or is elsewhere.
func (g *saved) drops(former *saved) bool {
	if g == former || g == nil || former == nil {
		return false
	}
	type seat struct{ upstream, id string }
	now := map[seat]netip.AddrPort{}
	for _, u := range g.Upstreams {
		for _, s := range u.Servers {
			if isUp(s) {
				now[seat{u.Name, s.ID}] = s.Addr
			}
		}
	}
	for _, u := range former.Upstreams {
		for _, s := range u.Servers {
			if isUp(s) && now[seat{u.Name, s.ID}] != s.Addr {
				return true
			}
		}
	}
	return false
}
