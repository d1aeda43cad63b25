package pool

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/*.lua
var scriptFiles embed.FS

// script reads a script and puts the shared part before it. The files are part of the binary: a missing one is a
// mistake of ours, seen at the first start of any binary.
func script(name string) *redis.Script { return redis.NewScript(source(name)) }

func source(name string) string {
	var src string
	for _, f := range []string{"scripts/lib.lua", "scripts/" + name} {
		b, err := scriptFiles.ReadFile(f)
		if err != nil {
			panic(err)
		}
		src += string(b)
	}
	return src
}

// Errors that callers branch on.
var (
	ErrNoSuchNode = errors.New("no such node")
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

// run runs a script and reads its reply; what names the deed for the error.
func (p *Pool) run(ctx context.Context, what string, s *redis.Script, keys []string, args ...any) (reply, error) {
	r, err := readReply(s.Run(ctx, p.rdb, keys, args...))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return r, nil
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
