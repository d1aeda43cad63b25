package ctl

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// The original Python agent's results have no id. One is taken for that of our command if nothing else waits with it, the
// node's hash speaks of a command of that type, and does so anew after ours was taken from the queue.

func (s *session) pythonReport(ctx context.Context, node string) (*pool.PythonReport, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	r, err := s.pool.PythonReport(ctx, node)
	return &r, err
}

// pythonResult waits for the report on a command that was sent when the node's report was before, and writes into its
// record what came of it: the agent does not.
func (s *session) pythonResult(ctx context.Context, out outcome, o order, before *pool.PythonReport) outcome {
	began := time.Now()
	out = s.attribute(ctx, out, o, before)
	r := pool.Result{ID: out.Command, Node: out.ID, Type: o.kind, State: pool.CommandState(out.Result), ExitCode: out.ExitCode,
		Stdout: out.Stdout, Stderr: out.Stderr, Output: out.Output, Started: began, Ended: time.Now()}
	if r.State != pool.Succeeded && r.State != pool.Failed {
		r.State = pool.Unknown
	}
	if r.State != pool.Succeeded {
		r.Error = out.text
	}
	// Bounded, and without the command line's ctx: what is known must not be lost with it.
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	if err := s.pool.FinishPython(ctx, r); err != nil {
		s.say("%s: its record does not say so: %v", out.ID, err)
	}
	return out
}

// attribute finds the report on our command. An agent that is busy with somebody else's reports that first, and takes
// ours at the same moment: when ours had waited for long, and is gone with a new report there at the next look, that may
// be about either, and only one more report is ours.
func (s *session) attribute(ctx context.Context, out outcome, o order, before *pool.PythonReport) outcome {
	const (
		look  = 100 * time.Millisecond // between two looks; while ours waits:
		often = 5 * time.Millisecond
		long  = 200 * time.Millisecond
	)
	const why = "%s queued, result not attributable: a Python agent's results have no id, and %s"
	if before.Waiting > 0 {
		return out.fail(notAttributable, why, o.verb, plural(int(before.Waiting), "command")+" waited before it")
	}
	began, taken, another, either := time.Now(), false, false, false
	for {
		now, err := s.pythonReport(ctx, out.ID)
		if err == nil {
			anew := now.Timestamp != before.Timestamp
			switch {
			case !taken && now.Waiting > 1:
				return out.fail(notAttributable, why, o.verb, "another command waits with it")
			case !taken && now.Waiting == 1: // what is reported now is not about ours
				before = now
			case anew && !taken && time.Since(began) > long:
				taken, either, before = true, true, now
			case anew && another && now.Waiting == 0:
				return out.fail(notAttributable, why, o.verb, "another command came after it")
			case anew && now.Status == "executed_"+o.kind:
				return out.python(o.verb, now, time.Since(began))
			default:
				taken = true
			}
			another = another || taken && now.Waiting > 0
		}
		pause := look
		if !taken {
			pause = often
		}
		select {
		case <-ctx.Done():
			switch {
			case either:
				out = out.fail(notAttributable, why, o.verb, "the one report since may be about a command before it")
			default:
				out = out.fail(queued, "%s queued, its Python agent has reported nothing within the deadline", o.verb)
			}
			if ctx.Err() == context.DeadlineExceeded {
				out.code = cli.Deadline
			}
			return out
		case <-time.After(pause):
		}
	}
}

// isBad reports whether a Python handler's status says that it did not go well. Handlers choose their own words for what
// did ("completed", "deployed", "cache_cleared"), so these can't be listed.
func isBad(status string) bool {
	for _, word := range []string{"error", "fail", "timeout", "timed", "refused", "denied", "unknown"} {
		if strings.Contains(strings.ToLower(status), word) {
			return true
		}
	}
	return false
}

// python reads a Python agent's report.
func (out outcome) python(verb string, report *pool.PythonReport, took time.Duration) outcome {
	if report.Cut {
		return out.fail(string(pool.Unknown), "%s was carried out, its report is too long to be read: how it went is unknown", verb)
	}
	var d struct {
		Status     string `json:"status"`
		Error      string `json:"error"`
		Stdout     string `json:"stdout"`
		Stderr     string `json:"stderr"`
		ReturnCode *int   `json:"returncode"`
		ExitCode   *int   `json:"exit_code"`
	}
	if err := json.Unmarshal([]byte(report.Details), &d); err != nil {
		return out.fail(string(pool.Unknown), "%s was carried out, its report can't be read, how it went is unknown: %v", verb, err)
	}
	out.Stdout, out.Stderr, out.ExitCode, out.Output, out.Seconds = d.Stdout, d.Stderr, d.ExitCode, json.RawMessage(report.Details), took.Seconds()
	if d.ReturnCode != nil {
		out.ExitCode = d.ReturnCode
	}
	switch {
	case d.Error != "":
		return out.fail(string(pool.Failed), "%s failed: %s", verb, d.Error)
	case out.ExitCode != nil && *out.ExitCode != 0:
		return out.fail(string(pool.Failed), "%s failed: exit code %d", verb, *out.ExitCode)
	case isBad(d.Status):
		return out.fail(string(pool.Failed), "%s failed: status %q", verb, d.Status)
	case out.Type == "health_check":
		out.Result = string(pool.Succeeded)
		return out.health(out.Output)
	}
	out.Result, out.text = string(pool.Succeeded), fmt.Sprintf("%s succeeded (%.1f s)", verb, took.Seconds())
	if out.ExitCode == nil {
		out.text = fmt.Sprintf("%s was carried out (%.1f s); a Python agent does not say how it went", verb, took.Seconds())
	}
	return out
}
