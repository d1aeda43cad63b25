package ctl

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/pool"
)

// completeWithin bounds what a press of TAB may wait for Redis.
var completeWithin = time.Second // tests have more

func (s *session) completionCmd() *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print the shell's completion script, which knows the nodes' names.",
		Long: `For good:
  bash  bbctl completion bash > /etc/bash_completion.d/bbctl
  zsh   bbctl completion zsh > "${fpath[1]}/_bbctl"
  fish  bbctl completion fish > ~/.config/fish/completions/bbctl.fish`,
		Example:   "  source <(bbctl completion bash)\n  bbctl completion fish | source",
		Args:      oneArg("shell"),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(s.stdout, true)
			case "zsh":
				return root.GenZshCompletion(s.stdout)
			case "fish":
				return root.GenFishCompletion(s.stdout, true)
			}
			return usagef(cmd, "%q is not one of %s", args[0], or(shells))
		},
	}
}

// completeNodes offers the ids of nodes that are not on the line yet, and of no files.
func (s *session) completeNodes(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return s.completeIDs(cmd, args, nodeIDs)
}

func (s *session) completeLBs(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return s.completeIDs(cmd, args, lbIDs)
}

// completeIDs offers nothing when Redis does not answer: a line that is being typed is no place for an error.
func (s *session) completeIDs(cmd *cobra.Command, args []string, read func(context.Context, *pool.Pool) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	s.timeout = min(s.timeout, completeWithin)
	var ids []string
	_ = s.redis(cmd.Context(), func(ctx context.Context, p *pool.Pool) (err error) {
		ids, err = read(ctx, p)
		return err
	})
	ids = slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(args, id) })
	return ids, cobra.ShellCompDirectiveNoFileComp
}
