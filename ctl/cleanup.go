package ctl

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/pool"
)

func (s *session) cleanupCmd() *cobra.Command {
	return &cobra.Command{
		Use: "cleanup", GroupID: act,
		Short: "Take nodes without a heartbeat out of the active set.",
		Long: `They get no traffic anyway; this puts the books in order, for tools that believe the set. Such a node
stays known, and comes back by itself when its agent does. To remove every trace: bbctl forget NODE`,
		Example: "  bbctl cleanup\n  bbctl cleanup -o json",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return s.cleanup(cmd.Context()) },
	}
}

func (s *session) cleanup(ctx context.Context) error {
	var all outcomes
	err := s.redis(ctx, func(ctx context.Context, p *pool.Pool) error {
		gone, err := p.Cleanup(ctx, s.as)
		for _, id := range gone {
			all = append(all, outcome{ID: id, Result: removed})
			if !s.output.data() {
				fmt.Fprintf(s.stdout, "%s: taken out of the active set, it has no heartbeat\n", id)
			}
		}
		return err
	})
	if err == nil && len(all) == 0 && !s.output.data() {
		fmt.Fprintln(s.stdout, "nothing to clean up")
	}
	return s.finish(all, err)
}
