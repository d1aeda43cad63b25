package ctl

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// ownVerbs are the types of commands that have a verb, which knows more of them than their name.
var ownVerbs = map[string]string{"freeze": "freeze", "unfreeze": "unfreeze", "start": "start", "stop": "stop", "restart": "restart",
	"update": "update", "exec": "exec", "deploy_file": "deploy-file", "health_check": "health-check"}

// runCmd is for all other types: those of plugins, of programs' own handlers, and of commands_dir.
func (s *session) runCmd() *cobra.Command {
	o := sending{choice: choice{asks: always}}
	var a arguments
	var kind string
	cmd := &cobra.Command{
		Use: "run TYPE NODE...", GroupID: act,
		Short: "Have nodes carry out a command that has no verb here.",
		Long: `TYPE is what the nodes' agents know it by: pull, logs or status of the application's service, a
program in their commands_dir, a handler of your own. bbctl status NODE lists what a node accepts.

It shows what the command's program printed, or its answer in JSON; with several nodes the node
stands before each line.

` + sendingCodes,
		Example:           "  bbctl run logs web3 --arg-json lines=50\n  bbctl run clear_cache --dc dc1 --arg what=pages --yes",
		ValidArgsFunction: s.completeRun,
		PreRunE:           o.check,
	}
	choose := s.onChoice(&o.choice, func(ctx context.Context, ids []string) error {
		return s.carry(ctx, &o, order{verb: kind, kind: kind, args: a.args}, ids, s.showAnswer(len(ids) > 1))
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef(cmd, "run needs a TYPE of command, then the nodes, like: bbctl run logs web1")
		}
		kind = args[0]
		if err := checkType(cmd, kind); err != nil {
			return err
		}
		if err := a.read(cmd); err != nil {
			return err
		}
		o.verb = "run " + kind
		return choose(cmd, args[1:])
	}
	o.bind(s, cmd, 2*time.Minute)
	cmd.Flags().StringArrayVar(&a.texts, "arg", nil, "an argument of the command, `name=text` (repeatable)")
	cmd.Flags().StringArrayVar(&a.values, "arg-json", nil, "one that is no text, `name=JSON`: a number, true, a list (repeatable)")
	return cmd
}

// typeRule is wider than what commands_dir takes: a program may name its handlers as it likes.
var typeRule = regexp.MustCompile(`\A[A-Za-z0-9][!-~]{0,63}\z`)

func checkType(cmd *cobra.Command, kind string) error {
	if verb := ownVerbs[kind]; verb != "" {
		return usagef(cmd, "%s has a verb of its own: bbctl %s", kind, verb)
	}
	if !typeRule.MatchString(kind) {
		return usagef(cmd, "%s is no type of command, like logs or clear_cache", cli.Printable(kind, 64))
	}
	return nil
}

// arguments are those of a command as they stand on a command line.
type arguments struct {
	texts, values []string
	args          map[string]any
}

// ownFields are names that a command's JSON object has for itself.
var ownFields = []string{"type", "id", "by", "issued", "expires", "signed"}

func (a *arguments) read(cmd *cobra.Command) error {
	a.args = map[string]any{}
	for flag, words := range map[string][]string{"arg": a.texts, "arg-json": a.values} {
		for _, w := range words {
			name, text, ok := strings.Cut(w, "=")
			var value any = text
			_, twice := a.args[name]
			switch {
			case !ok || name == "":
				return usagef(cmd, "--%s %q is not name=value", flag, w)
			case twice:
				return usagef(cmd, "argument %q is given twice", name)
			case slices.Contains(ownFields, name):
				return usagef(cmd, "argument %q has the name of a field that every command has", name)
			case flag == "arg-json":
				if err := json.Unmarshal([]byte(text), &value); err != nil {
					return usagef(cmd, "--arg-json %q is no JSON: %v", w, err)
				}
			}
			a.args[name] = value
		}
	}
	return nil
}

// showAnswer shows what a program printed, or the answer of one that answers in JSON; of several nodes with the node
// before each line.
func (s *session) showAnswer(several bool) func(outcome) {
	return func(out outcome) {
		answer := out
		if out.Stdout == "" && len(out.Output) > 0 {
			answer.Stdout = string(out.Output) + "\n"
		}
		if several || answer.Stdout+answer.Stderr == "" {
			s.showOutput(answer)
		} else {
			s.showRaw(answer)
		}
	}
}

// completeRun offers types first, then nodes.
func (s *session) completeRun(cmd *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return s.completeIDs(cmd, nil, acceptedTypes)
	}
	return s.completeNodes(cmd, args[1:], to)
}

// acceptedTypes are the types that any node says it knows, but for those with a verb.
func acceptedTypes(ctx context.Context, p *pool.Pool) (types []string, err error) {
	ids, err := nodeIDs(ctx, p)
	if err != nil {
		return nil, err
	}
	caps, err := p.Capabilities(ctx, ids...)
	for _, c := range caps {
		for _, t := range c.Commands {
			if ownVerbs[t] == "" && typeRule.MatchString(t) {
				types = append(types, t)
			}
		}
	}
	slices.Sort(types)
	return slices.Compact(types), err
}
