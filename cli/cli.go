// Package cli holds what the four binaries share so that they behave alike: exit codes, signals, version, logs, and
// flags that beat a config file. It knows nothing of what any of them does.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"golang.org/x/term"
)

// Exit codes of all binaries.
const (
	Done     = 0
	Failed   = 1
	Usage    = 2 // wrong flags, arguments or config
	NoNode   = 3 // no such node
	Deadline = 4 // the deadline passed
	Refused  = 5 // a guard refused
)

// Error is an error that asks for an exit code of its own.
type Error struct {
	Code int
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Usagef returns an error with exit code 2.
func Usagef(format string, args ...any) error {
	return &Error{Code: Usage, Err: fmt.Errorf(format, args...)}
}

// Report prints err, if any, the way every binary does, and returns the exit code.
func Report(stderr io.Writer, name string, err error) int {
	if err == nil {
		return Done
	}
	fmt.Fprintf(stderr, "%s: %v\n", name, err)
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Failed
}

// Main runs a binary and exits with its code. The first SIGTERM or SIGINT ends ctx, a second one the process.
func Main(run func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, stop) // from now on a signal does what it does by default
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// version is set by the linker (-X); otherwise the build's own information is used.
var version string

// Version is the version of this build.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}

// IsTerminal reports whether w is a terminal; colour and live pictures go nowhere else.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Logger returns a logger to w. format is text, json, or "" for text on a terminal and JSON otherwise; level is
// debug, info, warn or error.
func Logger(w io.Writer, format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, Usagef("--log-level %q is not one of debug, info, warn, error", level)
	}
	o := &slog.HandlerOptions{Level: l}
	switch {
	case format == "text", format == "" && IsTerminal(w):
		return slog.New(slog.NewTextHandler(w, o)), nil
	case format == "json", format == "":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, Usagef("--log-format %q is not one of text, json", format)
}
