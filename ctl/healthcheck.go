package ctl

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/pool"
)

// commandTTL is how long a queued command is worth doing.
const commandTTL = 5 * time.Minute

func (s *session) healthCheckCmd() *cobra.Command {
	return &cobra.Command{
		Use: "health-check NODE...", GroupID: act,
		Short: "Ask nodes' agents to run their health checks now.",
		Long: `It queues the command and does not wait: the agent takes it when it next looks, or never if it is
down (after 5 minutes an agent of ours drops it). What came of it stands in: bbctl status NODE`,
		Example:           "  bbctl health-check web3\n  bbctl health-check web1 web2 --as deploy",
		Args:              someArgs("NODE"),
		ValidArgsFunction: s.completeNodes,
		RunE:              onIDs(s.healthCheck),
	}
}

func (s *session) healthCheck(ctx context.Context, ids []string) error {
	return s.finish(s.each(ctx, ids, func(ctx context.Context, p *pool.Pool, id string) (outcome, error) {
		c := pool.NewCommand("health_check", s.as, commandTTL, nil)
		return outcome{Result: queued, Command: c.ID, text: "health check queued (command " + c.ID + ")"}, p.Send(ctx, id, c)
	}))
}
