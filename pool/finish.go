package pool

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

var finishScript = script("finish.lua")

const (
	errorMost   = 4 << 10 // bytes of a result's error
	detailsMost = 8 << 10 // bytes of the details in the node's hash, which people's tools read for every node
)

// Finish writes what a command came to, into its record and, as the original system does, into the node's hash (status
// "executed_<type>" and details), and takes it out of hand. t is what was taken, or empty if that is gone: when an agent
// tells later what an earlier run of it did. Done again it changes nothing; what has ended stays as it was, but for an
// interrupted one.
func (p *Pool) Finish(ctx context.Context, t Taken, r Result) error {
	return p.finish(ctx, t, r, "executed_"+r.Type)
}

// finish leaves the node's hash alone when status is "".
func (p *Pool) finish(ctx context.Context, t Taken, r Result, status string) error {
	if err := CheckID(r.ID); err != nil {
		return fmt.Errorf("command %w", err)
	}
	if len(r.Output) > OutputMost {
		r.Error = fmt.Sprintf("%sits result of %d bytes is left out: more than %d", separated(r.Error), len(r.Output), OutputMost)
		r.Output = nil
	}
	r.Error, r.Stdout, r.Stderr = cutTo(r.Error, errorMost), clip(r.Stdout), clip(r.Stderr)
	code := ""
	if r.ExitCode != nil {
		code = strconv.Itoa(*r.ExitCode)
	}
	details, err := r.details()
	if err != nil {
		return err
	}
	said := string(r.State)
	if r.Error != "" {
		said += ": " + r.Error
	}
	k := p.keys
	rfc, unix := stamp()
	args := []any{t.raw, r.ID, r.Node, r.Type, cut(r.By), rfc, unix, resultTTL.Milliseconds(), recentMost, string(r.State),
		cut(r.Type + " " + said), status, details,
		"error", r.Error, "exit_code", code, "stdout", r.Stdout, "stderr", r.Stderr, "output", string(r.Output), "ended", clock(r.Ended)}
	if r.State != Interrupted || !r.Started.IsZero() { // who did not begin it does not know when that was
		args = append(args, "started", clock(r.Started))
	}
	_, err = p.run(ctx, "write result", finishScript,
		[]string{k.taken(r.Node), k.command(r.ID), k.recent(r.Node), k.status(r.Node), k.events()}, args...)
	return p.Explain(err)
}

func separated(s string) string {
	if s == "" {
		return ""
	}
	return s + "; "
}

// details is what the node's hash says of the command, for people and the original CLI: short fields first, since
// readers cut. What is too long for it stands in the record alone.
func (r *Result) details() (string, error) {
	d := struct {
		Status   string          `json:"status"`
		ID       string          `json:"id,omitempty"`
		Error    string          `json:"error,omitempty"`
		ExitCode *int            `json:"exit_code,omitempty"`
		Stdout   string          `json:"stdout,omitempty"`
		Stderr   string          `json:"stderr,omitempty"`
		Result   json.RawMessage `json:"result,omitempty"`
	}{string(r.State), r.ID, r.Error, r.ExitCode, r.Stdout, r.Stderr, r.Output}
	if r.State == Succeeded {
		d.Status = "completed" // the original system's word
	}
	b, err := json.Marshal(d)
	if err == nil && len(b) > detailsMost {
		const most = detailsMost / 8 // an escaped byte has up to six
		d.Error, d.Stdout, d.Stderr, d.Result = cutTo(d.Error, most), lastOf(d.Stdout, most/2), lastOf(d.Stderr, most/2), nil
		b, err = json.Marshal(d)
	}
	if err != nil {
		return "", fmt.Errorf("encode result of %s: %w", r.Type, err)
	}
	return string(b), nil
}

// lastOf is the end of a text, where errors stand.
func lastOf(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8("… "+s[len(s)-most:], "")
}
