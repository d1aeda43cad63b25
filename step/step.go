// Package step holds the one vocabulary of the line from a fact in Redis to what Nginx serves: the names of its
// steps, and the error that says at which of them a change stopped. The same names are the log attribute "step",
// the metric label, `bbctl lbs` and the picture in the README. It does not run any step.
package step

import (
	"errors"
	"fmt"
)

// Name is a step of the line. Its text is public: logs, metrics, /status.
type Name string

// The steps, in the order in which a change passes them.
const (
	Wake     Name = "wake"     // something may have changed
	Snapshot Name = "snapshot" // look at the whole pool in Redis
	Resolve  Name = "resolve"  // node -> address
	Render   Name = "render"   // view + templates -> files in memory
	Test     Name = "test"     // nginx -t, before the live path is touched
	Install  Name = "install"  // atomic rename
	Reload   Name = "reload"   // signal the master
	Verify   Name = "verify"   // prove that new workers serve
	Push     Name = "push"     // tell a running Nginx its peers, with a live engine: in place of test to verify
	Ack      Name = "ack"      // say in Redis what is served
)

// Names lists the steps in order.
var Names = []Name{Wake, Snapshot, Resolve, Render, Test, Install, Reload, Verify, Push, Ack}

// Error says at which step a change stopped, why, and what the operator can do about it.
type Error struct {
	Step Name
	Err  error
	Hint string // the way out, a sentence without the final stop; empty when there is none to offer
}

// Errorf returns an *Error; the format follows fmt.Errorf, %w included.
func Errorf(s Name, hint, format string, args ...any) *Error {
	return &Error{Step: s, Err: fmt.Errorf(format, args...), Hint: hint}
}

// Wrap returns err as an *Error at s, or err itself when it already names a step; nil stays nil.
func Wrap(s Name, err error) error {
	var e *Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return &Error{Step: s, Err: err}
}

func (e *Error) Error() string {
	if e.Hint == "" {
		return fmt.Sprintf("%s: %v", e.Step, e.Err)
	}
	return fmt.Sprintf("%s: %v (%s)", e.Step, e.Err, e.Hint)
}

func (e *Error) Unwrap() error { return e.Err }

// Of names the step at which err happened, or "" when it names none.
func Of(err error) Name {
	var e *Error
	if errors.As(err, &e) {
		return e.Step
	}
	return ""
}
