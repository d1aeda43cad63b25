package ctl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// fail returns out as something that did not work, with what to say of it; foreign text is made printable.
func (out outcome) fail(result, format string, args ...any) outcome {
	out.Result, out.code = result, cli.Failed
	out.text = cli.Printable(fmt.Sprintf(format, args...), 1000)
	out.Detail = out.text
	return out
}

// read notes what came of a command; err is that of the wait for it.
func (out outcome) read(verb string, r pool.Result, err error) outcome {
	out.Result, out.ExitCode, out.Stdout, out.Stderr, out.Output = string(r.State), r.ExitCode, r.Stdout, r.Stderr, r.Output
	out.Seconds = r.Took().Seconds()
	see := "; see: bbctl result " + out.Command
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		out = out.fail(out.Result, "%s", tooLate(verb, r.State)+see)
		out.code = cli.Deadline
	case errors.Is(err, context.Canceled):
		out = out.fail(out.Result, "interrupted, %s is %s and goes on%s", verb, r.State, see)
	case err != nil:
		out = out.fail(out.Result, "%s was sent, its result is not known: %v%s", verb, err, see)
	case r.State == pool.Succeeded:
		out.text = fmt.Sprintf("%s succeeded (%s)", verb, took(r))
		if r.Type == "health_check" {
			out = out.health(r.Output)
		}
	default:
		out = out.fail(out.Result, "%s %s", verb, whyNot(r))
	}
	return out
}

func took(r pool.Result) string { return fmt.Sprintf("%.1f s", r.Took().Seconds()) }

// tooLate says what is still open at the deadline.
func tooLate(verb string, state pool.CommandState) string {
	switch state {
	case pool.Queued:
		return verb + " was not begun within the deadline: is its agent there? It will not be begun later"
	case pool.Running:
		return verb + " has not ended within the deadline and goes on"
	}
	return verb + ": redis did not answer within the deadline"
}

// whyNot says why a command did not succeed, and the way out where there is one.
func whyNot(r pool.Result) string {
	text := strings.ReplaceAll(string(r.State), "_", " ")
	if r.Error != "" {
		text += ": " + r.Error
	} else if r.ExitCode != nil {
		text += fmt.Sprintf(": exit code %d", *r.ExitCode)
	}
	switch r.State {
	case pool.Refused:
		if strings.Contains(r.Error, "sign") {
			text += " (sign it with --key FILE, or signing_key in the context)"
		}
	case pool.Interrupted:
		text += " (its agent ended meanwhile: a part may be done, look before you try again)"
	case pool.Unknown: // it may have run
		text = fmt.Sprintf("has an unknown end: %s; look at the node before you try again", cmp.Or(r.Error, "redis has lost its record"))
	}
	return text
}
