package pool

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/*.lua
var scriptFiles embed.FS

// script reads a script and puts the shared part before it. The files are part of the binary: a missing one is a
// mistake of ours, seen at the first start of any binary.
func script(name string) *redis.Script { return redis.NewScript(source(name)) }

func source(name string) string { return text("lib.lua") + text(name) }

func text(name string) string {
	b, err := scriptFiles.ReadFile("scripts/" + name)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// Errors that callers branch on.
var (
	ErrNoSuchNode = errors.New("no such node")
	// ErrMayBeDone is in the error of a change that Redis may have made all the same.
	ErrMayBeDone = errors.New("may have been done, the answer is missing")
)

// SupersededError says that a newer agent has taken the node id over.
type SupersededError struct{ ID, By string }

func (e *SupersededError) Error() string {
	return fmt.Sprintf("node %s: a newer agent (instance %s) has taken this id over", e.ID, shown(e.By))
}

// reply is what every script returns: a word that says what happened, then values as text.
type reply []string

func (r reply) word() string { return r.at(0) }

func (r reply) at(i int) string {
	if i < len(r) {
		return r[i]
	}
	return ""
}

func (r reply) rev(i int) int64 {
	n, _ := strconv.ParseInt(r.at(i), 10, 64)
	return n
}

// run runs a script and reads its reply; what names the deed for the error. When the answer is lost go-redis sends the
// script once more, so it must come to the same when it runs twice. If it does not, see runOnce.
func (p *Pool) run(ctx context.Context, what string, s *redis.Script, keys []string, args ...any) (reply, error) {
	r, err := within(ctx, func() (reply, error) { return readReply(s.Run(ctx, p.rdb, keys, args...)) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return r, nil
}

// runOnce is run for a script that would answer differently the second time ("was frozen already"): it is sent once.
func (p *Pool) runOnce(ctx context.Context, what string, s *redis.Script, keys []string, args ...any) (reply, error) {
	r, err := within(ctx, func() (reply, error) { return readReply(s.Run(ctx, once{p.rdb}, keys, args...)) })
	var dial *net.OpError
	switch {
	case err == nil:
		return r, nil
	case isAnswer(err), errors.As(err, &dial) && dial.Op == "dial":
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return nil, fmt.Errorf("%s %w: %w", what, ErrMayBeDone, err)
}

// once sends the scripts that it is given and never sends one again.
type once struct{ redis.UniversalClient }

func (o once) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return o.send(ctx, "evalsha", sha, keys, args)
}

func (o once) Eval(ctx context.Context, src string, keys []string, args ...any) *redis.Cmd {
	return o.send(ctx, "eval", src, keys, args)
}

func (o once) send(ctx context.Context, name, script string, keys []string, args []any) *redis.Cmd {
	words := []any{name, script, len(keys)}
	for _, k := range keys {
		words = append(words, k)
	}
	cmd := redis.NewCmd(ctx, append(words, args...)...)
	cmd.SetFirstKeyPos(3)
	_ = o.Process(ctx, noRetry{cmd}) // the error is in cmd, too
	return cmd
}

type noRetry struct{ redis.Cmder }

func (noRetry) NoRetry() bool { return true }

// told is what is wrong with a transaction. Of one that holds a command which it refuses Redis says at the end only that
// nothing of it was done.
func told(cmds []redis.Cmder, err error) error {
	if !redis.HasErrorPrefix(err, "EXECABORT") {
		return err
	}
	for _, cmd := range cmds {
		if why := cmd.Err(); why != nil && !redis.HasErrorPrefix(why, "EXECABORT") {
			return why
		}
	}
	return err
}

// within returns what call returns, or ctx's error as soon as ctx ends: go-redis heeds a deadline, but while it waits
// for an answer it does not see that ctx was canceled. call then ends by itself, within the time that a read may take.
func within[T any](ctx context.Context, call func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := call()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

func readReply(cmd *redis.Cmd) (reply, error) {
	values, err := cmd.Slice()
	if err != nil {
		return nil, err
	}
	r := make(reply, len(values))
	for i, v := range values {
		r[i] = fmt.Sprint(v)
	}
	return r, nil
}

// stamp returns now as events carry it (RFC 3339, UTC, Z) and as the hash does (Unix seconds as decimal text). It is
// this machine's clock: for people, never for decisions.
func stamp() (rfc, unix string) {
	now := time.Now().UTC()
	return clock(now), strconv.FormatFloat(float64(now.UnixMilli())/1000, 'f', 3, 64)
}
