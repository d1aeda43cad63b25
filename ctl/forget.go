package ctl

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/pool"
)

func (s *session) forgetCmd() *cobra.Command {
	var quoted bool
	cmd := &cobra.Command{
		Use: "forget NODE...", GroupID: act,
		Short: "Remove every trace of nodes, freezes included.",
		Long: `A node whose agent still runs registers again, unfrozen. Takes any text as a node's id, so that
rubbish can be removed, too; with --quoted in double quotes and with escapes, as list-nodes shows it.

Exit codes: 0 done · 3 there was no trace of a node`,
		Example:           "  bbctl forget web9\n" + `  bbctl forget --quoted '"web9\n\x00"'`,
		Args:              someArgs("NODE"),
		ValidArgsFunction: s.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			ids := args
			if quoted {
				ids = nil
				for _, a := range args {
					id, err := strconv.Unquote(a)
					if err != nil {
						return usagef(cmd, "%q is no quoted id: write it as list-nodes shows it", a)
					}
					ids = append(ids, id)
				}
			}
			return s.forget(cmd.Context(), ids)
		},
	}
	cmd.Flags().BoolVar(&quoted, "quoted", false, `the ids are in double quotes, with escapes like \n and \x00`)
	return cmd
}

func (s *session) forget(ctx context.Context, ids []string) error {
	return s.finish(s.each(ctx, ids, func(ctx context.Context, p *pool.Pool, id string) (outcome, error) {
		c, err := p.Forget(ctx, id, s.as)
		return outcome{Result: forgotten, Rev: c.Rev, text: "forgotten"}, err
	}))
}
