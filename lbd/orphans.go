package lbd

import (
	"fmt"
	"slices"
	"time"

	"github.com/bazbeans/bazbeans/render"
)

// An upstream that was taken out of the config, or given another output, leaves a file behind that Nginx may still
// include. lbd does not remove it: the operator's configuration may name it, and Nginx would not start. But its nodes are
// still sent to, and nobody keeps them in step; so it is said, and such nodes are not said to be drained, until the file
// is gone and Nginx was reloaded without it, which lbd sees to.

// orphan is such an upstream.
type orphan struct {
	savedUpstream
	gone bool // its file is, or serves nobody: what Nginx has read of it goes with a reload
}

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
			l.orphans = append(l.orphans, orphan{savedUpstream: s})
		}
	}
}

// orphaned puts into p what is left of former upstreams.
func (l *LB) orphaned(p *Plan, want map[string]bool) {
	for i := range l.orphans {
		o := &l.orphans[i]
		o.gone = liveServers(o.Output, o.Name) == 0
		if p.anew = p.anew || o.gone; o.gone {
			p.Orphans = append(p.Orphans, fmt.Errorf("upstream %s is not in the config any more, and nginx goes on with what it has read of it in %s until it is reloaded",
				o.Name, o.Output))
		} else {
			p.Orphans = append(p.Orphans, fmt.Errorf("upstream %s is not in the config any more, and nginx may still send to its servers in %s: take what names it out of nginx.conf, then remove that file",
				o.Name, o.Output))
		}
		for _, server := range o.Servers {
			if isUp(server) && !want[server.ID] {
				p.orphanIDs = append(p.orphanIDs, server.ID)
			}
		}
	}
}

// released forgets those whose files were gone when p was made, once that is applied.
func (l *LB) released(p *Plan) {
	if p.anew {
		l.orphans = slices.DeleteFunc(l.orphans, func(o orphan) bool { return o.gone && liveServers(o.Output, o.Name) == 0 })
		l.letGo.reset()
		l.letGo.next = time.Time{}
		l.agenda.now() // p names them still
	}
}

func isUp(s render.Server) bool { return !s.Down && s.Weight > 0 }
