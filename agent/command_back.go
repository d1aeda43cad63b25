package agent

import (
	"context"
	"slices"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// drop throws away what is never to be run and has no result of its own.
func (c *commander) drop(ctx context.Context, t pool.Taken, why string) {
	c.a.log.Warn("command thrown away", "command", cli.Printable(t.Type, 64), "id", t.ID, "error", cli.Printable(why, 300))
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.a.callLimit)
	defer cancel()
	if err := c.a.pool.Drop(call, c.a.cfg.NodeID, t, why); err != nil {
		c.a.log.Warn("a command stays in hand", "error", err) // the next look drops it
	}
}

// unbegun keeps what is not begun any more for giveBack.
func (c *commander) unbegun(j job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.back = append(c.back, j)
}

// giveBack returns what was not begun to the queue, the newest first, so that their order stays.
func (c *commander) giveBack(ctx context.Context) {
	for _, lane := range c.lanes {
		for len(lane) > 0 {
			c.unbegun(<-lane)
		}
	}
	slices.SortFunc(c.back, func(a, b job) int { return b.seq - a.seq })
	for _, j := range c.back {
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.a.callLimit)
		err := c.a.pool.GiveBack(call, c.a.cfg.NodeID, j.t)
		cancel()
		if err != nil {
			c.a.log.Warn("commands stay in hand for the next agent", "error", err)
			return
		}
	}
}
