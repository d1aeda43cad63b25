package ctl

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// The original Python agent's results have no id. One is taken for that of our command if nothing waited before it, the
// node's hash speaks of a command of that type, and does so anew.

func (s *session) pythonReport(ctx context.Context, node string) (*pool.PythonReport, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	r, err := s.pool.PythonReport(ctx, node)
	return &r, err
}

// pythonResult waits for the report on a command that was sent when the node's report was before.
func (s *session) pythonResult(ctx context.Context, out outcome, o order, before *pool.PythonReport) outcome {
	if before.Waiting > 0 {
		return out.fail(notAttributable, "%s queued, result not attributable: a Python agent's results have no id, and %s waited before it",
			o.verb, plural(int(before.Waiting), "command"))
	}
	for began := time.Now(); ; {
		now, err := s.pythonReport(ctx, out.ID)
		if err == nil && now.Waiting == 0 && now.Timestamp != before.Timestamp && now.Status == "executed_"+o.kind {
			return out.python(o.verb, now.Details, time.Since(began))
		}
		select {
		case <-ctx.Done():
			out = out.fail(queued, "%s queued, its Python agent has reported nothing within the deadline", o.verb)
			if ctx.Err() == context.DeadlineExceeded {
				out.code = cli.Deadline
			}
			return out
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// python reads a Python agent's report.
func (out outcome) python(verb, details string, took time.Duration) outcome {
	var d struct {
		Status     string `json:"status"`
		Error      string `json:"error"`
		Stdout     string `json:"stdout"`
		Stderr     string `json:"stderr"`
		ReturnCode *int   `json:"returncode"`
		ExitCode   *int   `json:"exit_code"`
	}
	if err := json.Unmarshal([]byte(details), &d); err != nil {
		return out.fail(string(pool.Failed), "%s was carried out, its report can't be read: %v", verb, err)
	}
	out.Stdout, out.Stderr, out.ExitCode, out.Output, out.Seconds = d.Stdout, d.Stderr, d.ExitCode, json.RawMessage(details), took.Seconds()
	if d.ReturnCode != nil {
		out.ExitCode = d.ReturnCode
	}
	switch {
	case d.Error != "":
		return out.fail(string(pool.Failed), "%s failed: %s", verb, d.Error)
	case out.ExitCode != nil && *out.ExitCode != 0:
		return out.fail(string(pool.Failed), "%s failed: exit code %d", verb, *out.ExitCode)
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
