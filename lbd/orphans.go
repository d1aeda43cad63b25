package lbd

import (
	"fmt"
	"slices"

	"github.com/bazbeans/bazbeans/render"
)

// An upstream that was taken out of the config, or given another output, leaves a file behind that Nginx may still
// include. lbd does not remove it: the operator's configuration may name it, and Nginx would not start. But its nodes are
// still sent to, and nobody keeps them in step; so it is said, and such nodes are not said to be drained, until the file
// is gone.

// findOrphans notes what the last generation had and today's config has not.
func (l *LB) findOrphans() {
	l.orphans = nil
	if l.last == nil {
		return
	}
	for _, s := range l.last.Upstreams {
		today := slices.ContainsFunc(l.upstreams, func(u *upstream) bool { return u.Name == s.Name && u.Output == s.Output })
		rewritten := slices.ContainsFunc(l.upstreams, func(u *upstream) bool { return u.Output == s.Output })
		if !today && !rewritten {
			l.orphans = append(l.orphans, s)
		}
	}
}

// orphaned puts into p what is left of former upstreams, and forgets those whose files are gone or serve nobody.
func (l *LB) orphaned(p *Plan, want map[string]bool) {
	l.orphans = slices.DeleteFunc(l.orphans, func(s savedUpstream) bool { return liveServers(s.Output, s.Name) == 0 })
	for _, s := range l.orphans {
		p.Orphans = append(p.Orphans, fmt.Errorf("upstream %s is not in the config any more, and nginx may still send to its servers in %s: take what names it out of nginx.conf, then remove that file",
			s.Name, s.Output))
		for _, server := range s.Servers {
			if isUp(server) && !want[server.ID] {
				p.orphanIDs = append(p.orphanIDs, server.ID)
			}
		}
	}
}

func isUp(s render.Server) bool { return !s.Down && s.Weight > 0 }
