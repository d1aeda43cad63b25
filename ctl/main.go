// Package ctl is bbctl, the operator's commands: one file a verb. It reads and changes the pool through package pool
// only, decides nothing that pool does not decide, and knows nothing of Nginx.
//
// A verb hands what it found to session.show (tables, JSON, YAML) or says a line per node (session.each). Whatever
// Redis says in free text is printed escaped.
package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/cli"
)

// Main runs one command line of bbctl and returns its exit code. ctx ends it.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return run(ctx, newSession(stdin, stdout, stderr), args)
}

// Command returns the tree of bbctl's commands, to write documents from.
func Command() *cobra.Command { return rootCmd(newSession(nil, io.Discard, io.Discard)) }

func run(ctx context.Context, s *session, args []string) int {
	defer s.close()
	root := rootCmd(s)
	root.SetArgs(append([]string{}, args...)) // never nil: cobra would read os.Args
	root.SetOut(s.stdout)
	root.SetErr(s.stderr)
	err := root.ExecuteContext(ctx)
	var said exit
	if errors.As(err, &said) {
		return int(said)
	}
	return cli.Report(s.stderr, "bbctl", err)
}

// exit is an error that has been printed already; it only carries the exit code.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit %d", int(e)) }

const (
	look = "look"
	act  = "act"
)

func rootCmd(s *session) *cobra.Command {
	var version bool
	root := &cobra.Command{
		Use:   "bbctl",
		Short: "See which nodes serve, take them out of traffic, put them back.",
		Example: `  bbctl list-nodes
  bbctl freeze web3 --reason "kernel update" --wait`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if version {
				return s.printVersion()
			}
			return cmd.Help()
		},
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.Flags().BoolVar(&version, "version", false, "show the version")
	s.bind(root)
	root.SetHelpFunc(help)
	root.SetHelpCommand(helpCmd())
	root.SetFlagErrorFunc(flagError)
	root.AddGroup(&cobra.Group{ID: look, Title: "Look"}, &cobra.Group{ID: act, Title: "Act"})
	root.AddCommand(
		s.listNodesCmd(), s.statusCmd(), s.lbsCmd(), s.eventsCmd(), s.historyCmd(), s.resultCmd(),
		s.freezeCmd(), s.unfreezeCmd(),
		s.serviceCmd("start", "Start the application on nodes.", nil),
		s.serviceCmd("stop", "Stop the application on nodes.", always),
		s.serviceCmd("restart", "Restart the application on nodes.", always),
		s.updateCmd(), s.execCmd(), s.deployFileCmd(), s.runCmd(), s.healthCheckCmd(), s.cleanupCmd(), s.forgetCmd(),
		s.contextCmd(), s.keygenCmd(), s.completionCmd(), s.versionCmd(),
	)
	return root
}

// usagef returns an error of a command line, with the way to that command's help; exit code 2.
func usagef(cmd *cobra.Command, format string, args ...any) error {
	return cli.Usagef("%w (see %s --help)", fmt.Errorf(format, args...), cmd.CommandPath())
}

// flagError is what cobra asks when flags are wrong. A mistyped verb is the greater mistake than its flags.
func flagError(cmd *cobra.Command, err error) error {
	if args := cmd.Flags().Args(); cmd.HasSubCommands() && len(args) > 0 {
		return unknownCommand(cmd, args[0])
	}
	return usagef(cmd, "%s", cli.Printable(err.Error(), 300))
}

func unknownCommand(cmd *cobra.Command, name string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return cli.Usagef("unknown command %q%s", name, didYouMean(name, names, cmd.CommandPath()+" --help"))
}

func noArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasSubCommands():
		return unknownCommand(cmd, args[0])
	}
	return usagef(cmd, "%s takes no argument, got %q", cmd.Name(), args[0])
}

// oneArg and someArgs name what is missing as the usage line does: NODE.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef(cmd, "%s takes exactly one %s, got %d", cmd.Name(), what, len(args))
		}
		return nil
	}
}

func someArgs(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef(cmd, "%s needs at least one %s", cmd.Name(), what)
		}
		return nil
	}
}

// or joins names as a person would: a, b or c.
func or(names []string) string {
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " or " + names[n-1]
	}
	return strings.Join(names, "")
}
