package pool

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// wrongTypeError is Redis's WRONGTYPE with what that leaves out; scripts say it in the same words (wrong in lib.lua).
type wrongTypeError struct {
	key      string
	is, want string // types; is: "" when this user may not ask
	err      error  // Redis's own
}

func (e *wrongTypeError) Error() string {
	if e.is == "" {
		return fmt.Sprintf("WRONGTYPE %s should be a %s", e.key, e.want)
	}
	return fmt.Sprintf("WRONGTYPE %s is a %s and should be a %s", e.key, e.is, e.want)
}

func (e *wrongTypeError) Unwrap() error { return e.err }

// wrongTypes is a hook that puts a wrongTypeError in the place of a WRONGTYPE that names no key. That takes a round trip
// more, only then.
type wrongTypes struct {
	rdb  redis.UniversalClient
	keys Keys
}

// typesMost bounds how many types are asked for after one pipeline.
const typesMost = 100

func (wrongTypes) DialHook(next redis.DialHook) redis.DialHook { return next }

func (w wrongTypes) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if !namesNoKey(err) {
			return err
		}
		cmd.SetErr(err)
		w.name(ctx, []redis.Cmder{cmd})
		return cmd.Err()
	}
}

func (w wrongTypes) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		w.name(ctx, cmds)
		if !namesNoKey(err) {
			return err
		}
		for _, cmd := range cmds { // as go-redis does: the first error
			if err := cmd.Err(); err != nil {
				return err
			}
		}
		return err
	}
}

func namesNoKey(err error) bool {
	var named *wrongTypeError
	return redis.HasErrorPrefix(err, "WRONGTYPE Operation") && !errors.As(err, &named)
}

// name gives each command that met a wrong type the error that says so. Of a script's keys it is the first that has one.
func (w wrongTypes) name(ctx context.Context, cmds []redis.Cmder) {
	type look struct {
		cmd redis.Cmder
		key string
		is  *redis.StatusCmd
	}
	var looks []look
	pipe := w.rdb.Pipeline()
	for _, cmd := range cmds {
		if !namesNoKey(cmd.Err()) {
			continue
		}
		for _, key := range keysOf(cmd) {
			l := look{cmd: cmd, key: key, is: redis.NewStatusResult("", nil)}
			if len(looks) < typesMost {
				l.is = pipe.Type(ctx, key)
			}
			looks = append(looks, l)
		}
	}
	_, _ = pipe.Exec(ctx) // an error, like that of a right that is missing, leaves the type out
	for _, l := range looks {
		is, want, alone := l.is.Val(), w.keys.kind(l.key), len(keysOf(l.cmd)) == 1
		other := is != "" && is != "none" && is != want
		if was := l.cmd.Err(); namesNoKey(was) && want != "" && (other || is == "" && alone) {
			l.cmd.SetErr(&wrongTypeError{l.key, is, want, was})
		}
	}
}

// keysOf are the keys of a command of ours.
func keysOf(cmd redis.Cmder) []string {
	args := cmd.Args()
	from, n := 1, 1
	switch cmd.Name() {
	case "eval", "evalsha", "eval_ro":
		from = 3
		n, _ = args[2].(int)
	case "blmove", "lmove":
		n = 2
	case "xread":
		from = len(args) - 2 // of one stream, from an id on
	}
	var keys []string
	for _, key := range args[from:min(from+n, len(args))] {
		keys = append(keys, fmt.Sprint(key))
	}
	return keys
}

// saidError is what Redis said inside of a script that went on.
type saidError string

func (e saidError) Error() string { return string(e) }
func (saidError) RedisError()     {}

// said is the error of what a script was told about a key; "" is none.
func (k Keys) said(key, text string) error {
	switch {
	case text == "":
		return nil
	case strings.HasPrefix(text, "WRONGTYPE"):
		return &wrongTypeError{key: key, want: k.kind(key), err: saidError(text)}
	}
	return saidError(text)
}
