package ctl

import (
	"bytes"
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/pool"
)

// streamMost is how many events Redis keeps, about: history reads them all, which keeps Redis busy for some 10 ms.
const streamMost = 11000

func (s *session) historyCmd() *cobra.Command {
	var n int
	cmd := &cobra.Command{
		Use: "history NODE", GroupID: look,
		Short: "Show all that is remembered of one node: who did what to it, when.",
		Long: `The oldest first; times are UTC by Redis's clock. Redis keeps the last 10,000 events of the whole
pool, also those of a node that was forgotten.`,
		Example:           "  bbctl history web3\n  bbctl history web3 -n 5 -o json",
		Args:              oneArg("NODE"),
		ValidArgsFunction: s.completeNodes,
		RunE: onIDs(func(ctx context.Context, ids []string) error {
			return s.history(ctx, ids[0], n)
		}),
	}
	cmd.Flags().IntVarP(&n, "lines", "n", 0, "how many, the newest (default all)")
	return cmd
}

func (s *session) history(ctx context.Context, id string, n int) error {
	views := []eventView{}
	err := s.redis(ctx, func(ctx context.Context, p *pool.Pool) error {
		recs, err := p.Events(ctx, "", streamMost)
		if err != nil {
			return err
		}
		for i := range recs {
			if recs[i].NodeID == id {
				views = append(views, newEventView(recs[i]))
			}
		}
		if len(views) == 0 { // a node that lives may have none, one that never was is a mistake
			if _, err = p.Node(ctx, id); errors.Is(err, pool.ErrNoSuchNode) {
				return nearest(ctx, p, id, err)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	if n > 0 {
		views = views[max(0, len(views)-n):]
	}
	return s.showEvents(views)
}

// showEvents shows what was found, if only that there was nothing.
func (s *session) showEvents(views []eventView) error {
	if len(views) == 0 {
		s.say("no events")
	}
	return s.show(views, func(w *bytes.Buffer) {
		if len(views) > 0 {
			s.eventsTable(w, views)
		}
	})
}
