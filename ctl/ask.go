package ctl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/cli"
)

// ask wants a yes before a verb is done to several nodes. Where nobody can answer, --yes has to be on the line.
func (s *session) ask(ctx context.Context, cmd *cobra.Command, verb string, ids []string) error {
	where := ""
	if s.site != "" {
		where = " of " + s.site
	}
	what := fmt.Sprintf("%s %s%s", verb, plural(len(ids), "node"), where)
	if in, ok := s.stdin.(*os.File); !ok || !cli.IsTerminal(in) || !cli.IsTerminal(s.stderr) {
		return usagef(cmd, "%s: nobody is here to be asked: say --yes (--dry-run shows which)", what)
	}
	fmt.Fprintf(s.stderr, "%s: %s\n%s? [y/N] ", what, few(ids, 12), what)
	// The read goes on in the background if ctx ends first: nothing interrupts it, and the process ends anyway.
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(s.stdin).ReadString('\n') // an end of input is no yes
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(s.stderr)
	case a := <-answer:
		if a == "y" || a == "yes" {
			return nil
		}
	}
	return errors.New("not confirmed, nothing was done")
}

// few names most of them at the most: web1 web2 web3 … and 9 more.
func few(ids []string, most int) string {
	if len(ids) <= most {
		return strings.Join(ids, " ")
	}
	return fmt.Sprintf("%s … and %d more", strings.Join(ids[:most], " "), len(ids)-most)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
