package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// CommandState is one word for where a command is.
type CommandState string

// The states. A command is queued, then running, then one of the others, and stays that; but one that was interrupted
// may yet come to something, if its agent lives after all.
const (
	Queued      CommandState = "queued"
	Running     CommandState = "running"
	Succeeded   CommandState = "succeeded"
	Failed      CommandState = "failed"      // it ran, and did not do what it should
	TimedOut    CommandState = "timed_out"   // it was stopped when its time was over
	Expired     CommandState = "expired"     // not run: too old when its turn came
	Refused     CommandState = "refused"     // not run: the node must not, or does not know how
	Interrupted CommandState = "interrupted" // the agent ended in the middle; it may have done a part
	Unknown     CommandState = "unknown"     // it may have run: Redis has lost the record, or what came of it; see ErrNoSuchCommand
)

// Ended reports whether nothing more is to come.
func (s CommandState) Ended() bool { return s != Queued && s != Running }

// Result is the record of one command.
type Result struct {
	ID       string
	Node     string
	Type     string
	By       string
	State    CommandState
	Error    string          // why it did not succeed; free text
	ExitCode *int            // of the program it ran, if it ran one to its end
	Stdout   string          // OutputMost bytes, head and tail; free text
	Stderr   string          // as Stdout
	Output   json.RawMessage // the handler's own result, valid JSON; nil: none

	Queued  time.Time // by the sender's clock; for a command of the Python CLI when it was taken
	Expires time.Time // zero: never, or not told
	Started time.Time // by the node's clock; zero: it was not begun
	Ended   time.Time // by the node's clock
}

// Took is how long the command ran, 0 when it did not.
func (r *Result) Took() time.Duration {
	if r.Started.IsZero() || r.Ended.IsZero() {
		return 0
	}
	return r.Ended.Sub(r.Started)
}

// ErrNoSuchCommand says that Redis has no record of a command.
var ErrNoSuchCommand = errors.New("no such command, or it is older than a day")

// Result returns the record of a command. The error is ErrNoSuchCommand when there is none.
func (p *Pool) Result(ctx context.Context, id string) (Result, error) {
	rs, err := p.Results(ctx, []string{id})
	if err != nil {
		return Result{}, err
	}
	if rs[0].State == Unknown && rs[0].Node == "" {
		return rs[0], fmt.Errorf("command %s: %w", shown(id), ErrNoSuchCommand)
	}
	return rs[0], nil
}

// Results returns the records of commands, in their order, in one round trip. One without a record has the state
// Unknown.
func (p *Pool) Results(ctx context.Context, ids []string) ([]Result, error) {
	rs := make([]Result, len(ids))
	if len(ids) == 0 {
		return rs, nil
	}
	reads := make([]*redis.MapStringStringCmd, len(ids))
	pipe := p.rdb.Pipeline()
	for i, id := range ids {
		if err := CheckID(id); err != nil {
			return nil, fmt.Errorf("command %w", err)
		}
		reads[i] = pipe.HGetAll(ctx, p.keys.command(id))
	}
	if _, err := pipe.Exec(ctx); err != nil && !ofOneCommand(err) {
		return nil, p.Explain(fmt.Errorf("read results: %w", err))
	}
	for i, cmd := range reads {
		if err := cmd.Err(); err != nil && !ofOneCommand(err) {
			return nil, p.Explain(fmt.Errorf("read results: %w", err))
		}
		rs[i] = decodeResult(ids[i], cmd.Val())
	}
	return rs, nil
}

// LastCommands returns the records of the node's last commands, newest first, n and 50 at most, of one day.
func (p *Pool) LastCommands(ctx context.Context, node string, n int) ([]Result, error) {
	ids, err := p.rdb.LRange(ctx, p.keys.recent(node), 0, int64(min(n, recentMost))-1).Result()
	if err != nil {
		return nil, p.Explain(fmt.Errorf("read last commands: %w", err))
	}
	good := ids[:0]
	for _, id := range ids {
		if CheckID(id) == nil {
			good = append(good, id)
		}
	}
	all, err := p.Results(ctx, good)
	known := all[:0]
	for _, r := range all {
		if r.State != Unknown || r.Node != "" { // of the latter there is a record
			known = append(known, r)
		}
	}
	return known, err
}

func decodeResult(id string, h map[string]string) Result {
	r := Result{ID: id, State: Unknown, Node: cut(h["node"]), Type: cut(h["type"]), By: cut(h["by"]), Error: cutTo(h["error"], errorMost),
		Stdout: clip(h["stdout"]), Stderr: clip(h["stderr"]),
		Queued: readClock(h["queued"]), Expires: readClock(h["expires"]), Started: readClock(h["started"]), Ended: readClock(h["ended"])}
	switch s := CommandState(h["state"]); s {
	case Queued, Running, Succeeded, Failed, TimedOut, Expired, Refused, Interrupted:
		r.State = s
	}
	if n, err := strconv.Atoi(h["exit_code"]); err == nil {
		r.ExitCode = &n
	}
	if out := h["output"]; out != "" && len(out) <= OutputMost && json.Valid([]byte(out)) {
		r.Output = json.RawMessage(out)
	}
	return r
}

func readClock(s string) time.Time {
	t, _ := time.Parse(clockForm, s) // none is the zero time
	return t
}
