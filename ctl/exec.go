package ctl

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/kballard/go-shellquote"
	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/cli"
)

func (s *session) execCmd() *cobra.Command {
	o := sending{choice: choice{asks: always}}
	var words []string
	cmd := &cobra.Command{
		Use: "exec NODE... -- COMMAND [ARG...]", GroupID: act,
		Short: "Run a program on nodes, and show what it prints.",
		Long: `Without a shell: words are passed on as they are here. A single word is split as a shell would, so
that exec web1 "docker ps" works as well. What may run is on the node's own list (exec.allow).

One node's stdout and stderr come out as they are, those of several with the node before each line.
The exit code is bbctl's, not the program's; -o json has that.

` + sendingCodes,
		Example:           "  bbctl exec web3 -- docker ps -a\n  bbctl exec --dc dc1 --yes -- systemctl is-active app",
		ValidArgsFunction: s.completeNodes,
		PreRunE:           o.check,
	}
	choose := s.onChoice(&o.choice, func(ctx context.Context, ids []string) error {
		// The text is for Python's shell, too: quoted, it is the same words there.
		args := map[string]any{"command": words[0]}
		if len(words) > 1 {
			args["command"], args["argv"] = shellquote.Join(words...), words
		}
		if cmd.Flags().Changed("deadline") {
			args["timeout"] = o.deadline.String()
		}
		show := s.showOutput
		if len(ids) == 1 {
			show = s.showRaw
		}
		return s.carry(ctx, &o, order{verb: "exec", kind: "exec", args: args}, ids, show)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		nodes := args
		if dash := cmd.ArgsLenAtDash(); dash >= 0 {
			nodes, words = args[:dash], args[dash:]
		} else if len(args) > 1 && !o.all && !o.on() { // as the original: one node, then the command
			nodes, words = args[:1], args[1:]
		}
		if len(words) == 0 || strings.TrimSpace(words[0]) == "" {
			return usagef(cmd, "exec needs a command after --, like: bbctl exec web1 -- uptime")
		}
		return choose(cmd, nodes)
	}
	o.bind(s, cmd, time.Minute)
	return cmd
}

// showRaw prints what one program printed, on the streams it used; a failure is said after it.
func (s *session) showRaw(out outcome) {
	if !s.output.data() {
		s.stream(s.stdout, "", out.Stdout)
		s.stream(s.stderr, "", out.Stderr)
		if out.Command != "" && out.Result == queued && out.code == cli.Done {
			fmt.Fprintf(s.stdout, "%s: %s\n", out.ID, out.text)
		}
	}
	if out.code != cli.Done {
		s.sayOutcome(out)
	}
}

// showOutput is showRaw for several nodes.
func (s *session) showOutput(out outcome) {
	if !s.output.data() {
		s.stream(s.stdout, out.ID+": ", out.Stdout)
		s.stream(s.stderr, out.ID+": ", out.Stderr)
		if out.code == cli.Done && out.Stdout == "" && out.Stderr == "" {
			fmt.Fprintf(s.stdout, "%s: %s\n", out.ID, out.text)
		}
	}
	if out.code != cli.Done {
		s.sayOutcome(out)
	}
}

// stream prints foreign text, each line after a prefix. A terminal is sent nothing that it might obey; a file gets the
// bytes as they are.
func (s *session) stream(w io.Writer, prefix, text string) {
	if text == "" {
		return
	}
	raw := !cli.IsTerminal(w)
	if raw && prefix == "" {
		_, _ = io.WriteString(w, text) // a pipe that was closed wants no more
		return
	}
	for _, line := range lines(text) {
		if !raw {
			line = printableLine(line)
		}
		fmt.Fprintf(w, "%s%s\n", prefix, line)
	}
}

// printableLine keeps tabs: programs make columns of them.
func printableLine(line string) string {
	parts := strings.Split(strings.TrimSuffix(line, "\r"), "\t")
	for i := range parts {
		parts[i] = cli.Printable(parts[i], 4096)
	}
	return strings.Join(parts, "\t")
}
