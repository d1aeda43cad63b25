package nginx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/bazbeans/bazbeans/step"
)

const idlePoll = 5 * time.Millisecond

// reloading is one reload from before it is asked for until it is proven.
type reloading struct {
	n       *Nginx
	m       process // zero: it can't be seen
	pid     int     // m's, or that of the pid file in m's own PID namespace: as in the error log
	w       *witness
	timeout time.Duration
	logs    []*errorLog

	before []process // m's children when it was idle and our files in place: who is not among them has read the files
	said   []string  // what m has written to its error logs since, of severity emerg and alert
}

// reload asks m to read its configuration, of which t is the tree and w, if there is one, the witness, again. It returns
// when new workers serve it.
func (n *Nginx) reload(ctx context.Context, s setup, m process, t *tree, w *witness, out *Outcome) error {
	r := &reloading{n: n, m: m, pid: m.PID, w: w, logs: n.errorLogs(s, m, t)}
	// The master has to read what a test has read.
	r.timeout = max(n.opt.ReloadTimeout, 3*min(out.Took[step.Test], n.opt.TestTimeout))
	began := time.Now()
	err := r.ask(ctx)
	n.opt.Progress()
	out.Took[step.Reload] += time.Since(began)
	if err != nil {
		return err
	}
	began = time.Now()
	if m == (process{}) {
		err = r.proveUnseen(ctx)
		out.Draining = 1
	} else {
		err = r.prove(ctx, n.workers(s, t), out)
	}
	out.Took[step.Verify] += time.Since(began)
	n.opt.Progress()
	return err
}

// ask has the master reload.
//
// An operator's reload may be under way, begun before our files were in place, and its workers are new as well. So the
// master must be seen idle first: whatever it reads after that moment, for us or for somebody else, is our files.
func (r *reloading) ask(ctx context.Context) error {
	n, m := r.n, r.m
	if m == (process{}) {
		r.pid, _ = n.pid() // without it, no line of the log is its
		r.listen()
		r.said = nil
		return n.command(ctx)
	}
	for deadline := time.Now().Add(r.timeout); m.busy(); {
		if time.Now().After(deadline) {
			return step.Errorf(step.Reload, "see what nginx's error log says", "nginx master %d is busy with another reload for %v", m.PID, r.timeout)
		}
		if err := wait(ctx, idlePoll); err != nil {
			return step.Errorf(step.Reload, "", "wait for nginx: %w", err)
		}
	}
	r.listen()
	r.before, r.said = m.children(), nil
	if n.opt.Reload != nil {
		return n.command(ctx)
	}
	err := m.hangup()
	switch {
	case errors.Is(err, syscall.ESRCH):
		return absent("process %d ended before it was signalled", m.PID)
	case errors.Is(err, syscall.EPERM):
		return step.Errorf(step.Reload, "run lbd as root or with CAP_KILL, or name a command in nginx.reload", "signal nginx master %d: %w", m.PID, err)
	}
	return step.Wrap(step.Reload, err)
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
