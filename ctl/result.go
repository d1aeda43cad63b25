package ctl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// resultView is the record of a command in JSON and YAML; its keys are public (docs/bbctl.md).
type resultView struct {
	Command  string          `json:"command"`
	ID       string          `json:"id"` // of the node
	Type     string          `json:"type"`
	By       string          `json:"by"`
	Result   string          `json:"result"`
	Detail   string          `json:"detail"`
	ExitCode *int            `json:"exit_code"`
	Stdout   string          `json:"stdout"`
	Stderr   string          `json:"stderr"`
	Output   json.RawMessage `json:"output"`
	Queued   *time.Time      `json:"queued"`
	Started  *time.Time      `json:"started"`
	Ended    *time.Time      `json:"ended"`
}

func newResultView(r pool.Result) resultView {
	return resultView{r.ID, r.Node, r.Type, r.By, string(r.State), r.Error, r.ExitCode, r.Stdout, r.Stderr, r.Output, known(r.Queued), known(r.Started), known(r.Ended)}
}

func (s *session) resultCmd() *cobra.Command {
	var w waiting
	cmd := &cobra.Command{
		Use: "result ID", GroupID: look,
		Short: "Show what came of a command.",
		Long: `Redis keeps the record of a command for a day.

Exit codes: 0 it succeeded, or has not ended yet · 1 it failed, or its end is not known ·
4 --deadline passed`,
		Example: "  bbctl result 4XQZ7KJ5R2\n  bbctl result 4XQZ7KJ5R2 --wait --deadline 5m",
		Args:    oneArg("ID"),
		PreRunE: w.check,
		RunE: onIDs(func(ctx context.Context, ids []string) error {
			return s.result(ctx, ids[0], w)
		}),
	}
	w.bind(cmd, "wait until it has ended")
	return cmd
}

func (s *session) result(ctx context.Context, id string, w waiting) error {
	var r pool.Result
	err := s.redis(ctx, func(ctx context.Context, p *pool.Pool) (err error) {
		r, err = p.Result(ctx, id)
		return err
	})
	if err == nil && w.on {
		wait, cancel := context.WithTimeout(ctx, w.deadline)
		defer cancel()
		r, err = s.pool.WaitResult(wait, id, nil)
	}
	late := errors.Is(err, context.DeadlineExceeded) && w.on
	if err != nil && !late && !errors.Is(err, pool.ErrNoSuchCommand) {
		return err
	}
	if err := s.show(newResultView(r), func(w *bytes.Buffer) { s.resultText(w, r) }); err != nil {
		return err
	}
	switch {
	case late:
		s.say("deadline of %s passed, it is %s", w.deadline, r.State)
		return exit(cli.Deadline)
	case r.State == pool.Unknown && r.Node == "":
		s.say("redis has no record of command %s: it never had, lost it, or it is older than a day; look at the node before you try again", id)
	case r.State == pool.Succeeded, !r.State.Ended():
		return nil
	}
	return exit(cli.Failed)
}

func (s *session) resultText(w *bytes.Buffer, r pool.Result) {
	line := func(key, text string) {
		if text != "" {
			fmt.Fprintf(w, "%-13s%s\n", key, cli.Printable(text, 1000))
		}
	}
	state := s.paint(resultColour(r.State), string(r.State))
	line("command", r.ID)
	line("node", r.Node)
	line("type", r.Type)
	line("by", r.By)
	fmt.Fprintf(w, "%-13s%s\n", "result", state)
	line("why", r.Error)
	if r.ExitCode != nil {
		line("exit code", fmt.Sprint(*r.ExitCode))
	}
	for _, t := range []struct {
		key string
		at  time.Time
	}{{"queued", r.Queued}, {"started", r.Started}, {"ended", r.Ended}} {
		if !t.at.IsZero() {
			line(t.key, t.at.UTC().Format(timeFormat))
		}
	}
	line("output", string(r.Output))
	for _, t := range []struct{ key, text string }{{"stdout", r.Stdout}, {"stderr", r.Stderr}} {
		if t.text != "" {
			fmt.Fprintf(w, "\n%s:\n", t.key)
			for _, l := range lines(t.text) {
				fmt.Fprintln(w, printableLine(l))
			}
		}
	}
}

func resultColour(st pool.CommandState) colour {
	switch {
	case st == pool.Succeeded:
		return green
	case !st.Ended():
		return yellow
	}
	return red
}
