package ctl

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"time"

	"github.com/bazbeans/bazbeans/cli"
)

// serviceCmd is start, stop or restart: what they mean is up to the node's plugins.
func (s *session) serviceCmd(verb, short string, asks func(*choice) bool) *cobra.Command {
	o := sending{choice: choice{asks: asks}}
	cmd := &cobra.Command{
		Use: verb + " NODE...", GroupID: act,
		Short: short,
		Long: `The node's agent does it, by its plugin (Docker Compose, systemd) or program for "` + verb + `"; bbctl
waits and shows what came of it. Traffic to the node goes on meanwhile, other than with bbctl update.

` + sendingCodes,
		Example:           fmt.Sprintf("  bbctl %s web3\n  bbctl %s 'web*' --dc dc1 --parallel 2 --yes", verb, verb),
		ValidArgsFunction: s.completeNodes,
		PreRunE:           o.check,
	}
	cmd.RunE = s.onChoice(&o.choice, func(ctx context.Context, ids []string) error {
		return s.carry(ctx, &o, order{verb: verb, kind: verb}, ids, s.showOutcome)
	})
	o.bind(s, cmd, 2*time.Minute)
	return cmd
}

const sendingCodes = `Exit codes: 0 done · 1 failed on a node, or its end is not known · 3 a node does not exist ·
4 --deadline passed`

// showOutcome says one node's outcome: what went well on stdout, what did not on stderr with the last that it printed.
func (s *session) showOutcome(out outcome) {
	if out.code == cli.Done {
		if !s.output.data() {
			fmt.Fprintf(s.stdout, "%s: %s\n", out.ID, out.text)
		}
		return
	}
	s.sayOutcome(out)
	if s.output.data() {
		return
	}
	for _, line := range lastLines(out.Stderr, out.Stdout) {
		s.say("%s: | %s", out.ID, cli.Printable(line, 500))
	}
}

func (s *session) sayOutcome(out outcome) {
	if out.Result == noSuchNode {
		s.say("%s", out.text) // it names the node
	} else {
		s.say("%s: %s", out.ID, out.text)
	}
}

// lastLines are the last few of the first text that has any.
func lastLines(texts ...string) []string {
	const most = 5
	for _, t := range texts {
		if all := lines(t); len(all) > 0 {
			return all[max(0, len(all)-most):]
		}
	}
	return nil
}

// lines splits a text; no text has none.
func lines(text string) []string {
	if text = strings.TrimRight(text, "\n"); text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}
