package ctl

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/pool"
)

func (s *session) freezeCmd() *cobra.Command {
	var reason string
	var w waiting
	c := choice{asks: unlessByName}
	cmd := &cobra.Command{
		Use: "freeze NODE...", GroupID: act,
		Short: "Take nodes out of traffic, at once and until unfreeze.",
		Long: `Needs no living agent, and outlives restarts of the node. To freeze a node again replaces the reason.
More than one node that is not named in full is asked about first, or needs --yes.

With --wait it returns once every load balancer is proven to send nothing to the nodes any more, old
workers of its Nginx included. A silent one blocks: its Nginx may still be sending. One that is gone
for good is taken out by: bbctl lbs forget ID

Exit codes: 0 done · 1 no load balancer to wait for, or a node was unfrozen meanwhile ·
3 a node does not exist · 4 --deadline passed, the nodes stay frozen`,
		Example: `  bbctl freeze web3 --reason "kernel update"
  bbctl freeze web1 web2 --wait --deadline 1m
  bbctl freeze --dc dc2 --dry-run`,
		ValidArgsFunction: s.completeNodes,
		PreRunE:           w.check,
		RunE: s.onChoice(&c, func(ctx context.Context, ids []string) error {
			return s.freeze(ctx, ids, reason, w)
		}),
	}
	c.bind(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "the `reason`, for the others")
	w.bind(cmd, "wait until no load balancer sends to them any more")
	return cmd
}

func (s *session) freeze(ctx context.Context, ids []string, reason string, w waiting) error {
	began := s.now()
	all, err := s.each(ctx, ids, func(ctx context.Context, p *pool.Pool, id string) (outcome, error) {
		c, err := p.Freeze(ctx, id, s.as, reason)
		out := outcome{Result: frozen, Rev: c.Rev, text: "frozen"}
		if !c.Changed {
			out.Result, out.text = alreadyFrozen, "was frozen already"
		}
		return out, err
	})
	if err == nil && w.on {
		s.wait(ctx, all, s.drained(all), w.deadline, began)
	}
	return s.finish(all, err)
}
