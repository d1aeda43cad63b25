package ctl

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

func (s *session) freezeCmd() *cobra.Command {
	var reason string
	var w waiting
	cmd := &cobra.Command{
		Use: "freeze NODE...", GroupID: act,
		Short: "Take nodes out of traffic, at once and until unfreeze.",
		Long: `Needs no living agent, and outlives restarts of the node. To freeze a node again replaces the reason.

With --wait it returns once every load balancer is proven to send nothing to the nodes any more, old
workers of its Nginx included. A silent one blocks: its Nginx may still be sending. One that is gone
for good is taken out by: bbctl lbs forget ID

Exit codes: 0 done · 1 no load balancer to wait for · 3 a node does not exist ·
4 --deadline passed, the nodes stay frozen`,
		Example: `  bbctl freeze web3 --reason "kernel update"
  bbctl freeze web1 web2 --wait --deadline 1m`,
		Args:              someArgs("NODE"),
		ValidArgsFunction: s.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := checkIDs(cmd, args)
			if err == nil {
				err = w.check(cmd)
			}
			if err != nil {
				return err
			}
			return s.freeze(cmd.Context(), ids, reason, w)
		},
	}
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
	if err != nil {
		return err
	}
	if w.on {
		s.waitDrained(ctx, all, w.deadline, began)
	}
	return s.finish(all)
}

func (s *session) unfreezeCmd() *cobra.Command {
	var w waiting
	cmd := &cobra.Command{
		Use: "unfreeze NODE...", GroupID: act,
		Short: "Put frozen nodes back into traffic.",
		Long: `Lifts the operators' freeze, and any freeze of a Python node. A node that is frozen by its own health
checks stays frozen until it is well; unfreeze says so.

Exit codes: 0 no operator's freeze is left · 3 a node does not exist · 4 --deadline passed ·
5 there was nothing to lift, and the node's own freeze stays`,
		Example: `  bbctl unfreeze web3
  bbctl unfreeze web1 web2 --wait`,
		Args:              someArgs("NODE"),
		ValidArgsFunction: s.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := checkIDs(cmd, args)
			if err == nil {
				err = w.check(cmd)
			}
			if err != nil {
				return err
			}
			return s.unfreeze(cmd.Context(), ids, w)
		},
	}
	w.bind(cmd, "wait until every load balancer serves the change")
	return cmd
}

func (s *session) unfreeze(ctx context.Context, ids []string, w waiting) error {
	began := s.now()
	all, err := s.each(ctx, ids, func(ctx context.Context, p *pool.Pool, id string) (outcome, error) {
		c, err := p.Unfreeze(ctx, id, s.as)
		out := outcome{Rev: c.Rev, Detail: c.Own}
		own := "frozen by its own health check: " + cli.Printable(c.Own, 256)
		switch {
		case c.Own != "" && c.Changed:
			out.Result, out.text = lifted, "operator's freeze lifted; still "+own
		case c.Own != "":
			out.Result, out.text, out.code = ownFreeze, "no operator's freeze to lift; still "+own, cli.Refused
		case c.Changed:
			out.Result, out.text = unfrozen, "unfrozen"
		default:
			out.Result, out.text = notFrozen, "was not frozen"
		}
		return out, err
	})
	if err != nil {
		return err
	}
	if w.on {
		s.waitServed(ctx, all, w.deadline, began)
	}
	return s.finish(all)
}
