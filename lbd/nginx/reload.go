package nginx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/bazbeans/bazbeans/step"
)

const askPoll = 5 * time.Millisecond // costs a look at all processes

// reloading is one reload from before it is asked for until it is proven.
type reloading struct {
	n       *Nginx
	m       process
	timeout time.Duration
	logs    []*errorLog

	before []process // m's children before it began to reload
	said   []string  // what m has written to its error logs since, of severity emerg and alert
	busy   bool      // m was not idle when we asked, so the first of said may be about another reload
}

// reload asks m to read its configuration, of which t is the tree, again, and returns when new workers serve it.
func (n *Nginx) reload(ctx context.Context, b build, m process, t *tree, out *Outcome) error {
	r := &reloading{n: n, m: m, logs: n.errorLogs(b, m, t)}
	r.timeout = max(n.opt.ReloadTimeout, 3*out.Took[step.Test]) // the master has to read what the test has read
	want := n.workers(b, t)
	err := r.once(ctx, want, out)
	if err != nil && r.busy && slices.ContainsFunc(r.said, final) {
		err = r.once(ctx, want, out) // it may have been the other reload that was refused
	}
	return err
}

func (r *reloading) once(ctx context.Context, want workers, out *Outcome) error {
	began := time.Now()
	err := r.ask(ctx)
	out.Took[step.Reload] += time.Since(began)
	if err != nil {
		return err
	}
	began = time.Now()
	err = r.prove(ctx, want, out)
	out.Took[step.Verify] += time.Since(began)
	return err
}

// ask has the master reload and notes its children at the moment when it begins to.
//
// That moment matters: an operator's reload may be under way, begun before our files were in place, and its workers
// are new as well. While the master is busy, our signal stays pending: children seen then, and lines, are of the past.
func (r *reloading) ask(ctx context.Context) error {
	n, m := r.n, r.m
	r.listen()
	r.before, r.said, r.busy = m.children(), nil, false
	asked := make(chan error, 1)
	if n.opt.Reload == nil {
		if err := m.hangup(); err != nil {
			if errors.Is(err, syscall.ESRCH) {
				return absent("process %d ended before it was signalled", m.PID)
			}
			hint := ""
			if errors.Is(err, syscall.EPERM) {
				hint = "run lbd as root or with CAP_KILL, or name a command in nginx.reload"
			}
			return step.Errorf(step.Reload, hint, "signal nginx master %d: %w", m.PID, err)
		}
		asked <- nil
	} else {
		go func() { asked <- n.command(ctx) }()
	}
	deadline := time.Now().Add(r.timeout)
	for sent := false; ; {
		if !sent {
			select {
			case err := <-asked:
				if err != nil {
					return err
				}
				sent = true
			default:
			}
		}
		if sent {
			if !m.hangupPending() {
				return nil
			}
			if time.Now().After(deadline) {
				return step.Errorf(step.Reload, "", "nginx master %d has not taken the signal for %v", m.PID, r.timeout)
			}
		}
		if err := wait(ctx, askPoll); err != nil {
			return step.Errorf(step.Reload, "", "wait for nginx: %w", err)
		}
		now := m.children()
		r.listen()
		if m.hangupPending() {
			r.before, r.said, r.busy = now, nil, true
		}
	}
}

// command runs the operator's own reload command.
func (n *Nginx) command(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, n.opt.ReloadTimeout)
	defer cancel()
	argv := n.opt.Reload
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // its children, too
	cmd.WaitDelay = time.Second
	began := time.Now()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Run()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) { // a child of it that lives on keeps its output open
		return nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("stopped after %v: %w", time.Since(began).Round(time.Second), context.Cause(ctx))
	}
	text := strings.TrimSpace(said.String())
	return step.Errorf(step.Reload, "run it by hand as lbd's user: "+strings.Join(argv, " "),
		"reload command %s: %w: %s", argv[0], err, text[:min(len(text), 1024)])
}
