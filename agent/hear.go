package agent

import (
	"context"

	"github.com/bazbeans/bazbeans/pool"
)

// hear makes the agent beat at once when somebody freezes or unfreezes its node, so that it knows of an operator's
// freeze before Redis can lose it. Events are hints: one that is missed is made up for by the next heartbeat.
func (a *Agent) hear(ctx context.Context) {
	told := false
	_ = a.pool.Watch(ctx, func(w pool.Wake) { // its error is ctx's
		e := w.Event
		switch {
		case w.Subscribed:
			told = false
		case pool.Denied(w.Deaf) && !told: // else it is an outage, which the heartbeats tell of
			told = true
			a.log.Warn("hears no events: it learns of a freeze with its next heartbeat, and a Redis that fails before that loses it", "error", w.Deaf)
		case w.Deaf != nil:
			a.log.Debug("hears no events: heartbeats tell of freezes", "error", w.Deaf)
		case e != nil && e.NodeID == a.cfg.NodeID && (e.Kind == pool.NodeFrozen || e.Kind == pool.NodeUnfrozen):
			select {
			case <-a.heard: // an older one that waits still
			default:
			}
			a.heard <- e.Rev
		}
	})
}
