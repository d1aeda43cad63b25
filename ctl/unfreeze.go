package ctl

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

func (s *session) unfreezeCmd() *cobra.Command {
	var w waiting
	var c choice
	cmd := &cobra.Command{
		Use: "unfreeze NODE...", GroupID: act,
		Short: "Put frozen nodes back into traffic.",
		Long: `Lifts the operators' freeze, and any freeze of a Python node. A node that is frozen by its own health
checks stays frozen until it is well; unfreeze says so.

Exit codes: 0 no operator's freeze is left · 3 a node does not exist · 4 --deadline passed ·
5 there was nothing to lift, and the node's own freeze stays`,
		Example: `  bbctl unfreeze web3
  bbctl unfreeze web1 web2 --wait`,
		ValidArgsFunction: s.completeNodes,
		PreRunE:           w.check,
		RunE:              s.onChoice(&c, func(ctx context.Context, ids []string) error { return s.unfreeze(ctx, ids, w) }),
	}
	c.bind(cmd)
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
		if err != nil || c.Own != "" {
			return out, err
		}
		n, err := p.Node(ctx, id)
		if err == nil && !n.Alive {
			out.Result = unfrozenDead
			out.text += ", but its heartbeat has expired: no traffic until its agent is back"
		}
		return out, err
	})
	if err == nil && w.on {
		s.wait(ctx, all, s.served(all), w.deadline, began)
	}
	return s.finish(all, err)
}
