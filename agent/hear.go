package agent

import (
	"context"

	"github.com/bazbeans/bazbeans/pool"
)

// hear makes the agent beat at once when somebody freezes or unfreezes its node, so that it knows of an operator's
// freeze before Redis can lose it. Events are hints: one that is missed is made up for by the next heartbeat.
func (a *Agent) hear(ctx context.Context) {
	_ = a.pool.Watch(ctx, func(w pool.Wake) { // its error is ctx's
		e := w.Event
		switch {
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
