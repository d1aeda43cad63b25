package nginx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/bazbeans/bazbeans/ngxconf"
	"github.com/bazbeans/bazbeans/step"
)

const (
	askPoll   = 5 * time.Millisecond // costs a look at all processes
	provePoll = time.Millisecond     // costs a look at one
)

// crew returns the workers of m that take connections, and the number of those that only finish their requests.
func (m process) crew() (working []process, draining int) {
	for _, child := range m.children() {
		switch title := child.title(); {
		case strings.HasPrefix(title, drainingTitle):
			draining++
		case isWorking(title):
			working = append(working, child)
		}
	}
	return working, draining
}

// reload asks m to read its configuration, of which t is the tree, again, and returns when new workers serve it.
func (n *Nginx) reload(ctx context.Context, b build, m process, t *tree, out *Outcome) error {
	began := time.Now()
	logs := n.errorLogs(b, m, t)
	before, err := n.ask(ctx, m)
	out.Took[step.Reload] += time.Since(began)
	if err != nil {
		return err
	}
	began = time.Now()
	err = n.prove(ctx, m, before, n.workers(b, t), logs, out)
	out.Took[step.Verify] += time.Since(began)
	return err
}

// ask has the master reload and returns the children that it had before it began to.
//
// That moment matters: an operator's reload may be under way, begun before our files were in place, and its workers
// are new as well. While the master is busy, our signal stays pending: children seen then are of the past.
func (n *Nginx) ask(ctx context.Context, m process) (before []process, err error) {
	before = m.children()
	asked := make(chan error, 1)
	if n.opt.Reload == nil {
		if err := m.hangup(); err != nil {
			if errors.Is(err, syscall.ESRCH) {
				return nil, absent("process %d ended before it was signalled", m.PID)
			}
			hint := ""
			if errors.Is(err, syscall.EPERM) {
				hint = "run lbd as root or with CAP_KILL, or name a command in nginx.reload"
			}
			return nil, step.Errorf(step.Reload, hint, "signal nginx master %d: %w", m.PID, err)
		}
		asked <- nil
	} else {
		go func() { asked <- n.command(ctx) }()
	}
	deadline := time.Now().Add(n.opt.ReloadTimeout)
	for sent := false; ; {
		if !sent {
			select {
			case err := <-asked:
				if err != nil {
					return nil, err
				}
				sent = true
			default:
			}
		}
		if sent {
			if !m.hangupPending() {
				return before, nil
			}
			if time.Now().After(deadline) {
				return nil, step.Errorf(step.Reload, "", "nginx master %d has not taken the signal for %v", m.PID, n.opt.ReloadTimeout)
			}
		}
		if err := wait(ctx, askPoll); err != nil {
			return nil, step.Errorf(step.Reload, "", "wait for nginx: %w", err)
		}
		if now := m.children(); m.hangupPending() {
			before = now
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
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("no end within %v: %w", n.opt.ReloadTimeout, context.Cause(ctx))
	}
	text := strings.TrimSpace(said.String())
	return step.Errorf(step.Reload, "run it by hand as lbd's user: "+strings.Join(argv, " "),
		"reload command %s: %w: %s", argv[0], err, text[:min(len(text), 1024)])
}

// prove waits until m's workers are new, and as many as there should be. An error means that the reload failed, but
// for an *absence.
func (n *Nginx) prove(ctx context.Context, m process, before []process, want workers, logs []*errorLog, out *Outcome) error {
	var old []process
	for _, p := range before {
		if p.working() {
			old = append(old, p)
		}
	}
	former := len(old)
	deadline := time.Now().Add(n.opt.ReloadTimeout)
	var said []string
	for {
		// One look at one old worker, as long as it takes connections.
		for len(old) > 0 && !old[0].working() {
			old = old[1:]
		}
		ready := false
		if len(old) == 0 {
			out.Workers, out.Draining, ready = m.renewed(before)
			ready = ready && want.met(out.Workers, former)
		}
		for _, l := range logs {
			said = append(said, l.fresh(m.PID)...)
		}
		if slices.ContainsFunc(said, final) {
			return step.Errorf(step.Reload, "", "nginx goes on with the former configuration: %s", complaint(strings.Join(said, "\n")))
		}
		if ready {
			return nil
		}
		if !m.alive() {
			return absent("process %d ended during the reload", m.PID)
		}
		if time.Now().After(deadline) {
			return step.Errorf(step.Verify, "look into nginx's error log", "no proof within %v: %d of %d former workers still take connections, %d of %s new ones are there: %s",
				n.opt.ReloadTimeout, len(old), former, out.Workers, want, complaint(strings.Join(said, "\n")))
		}
		if err := wait(ctx, provePoll); err != nil {
			return step.Errorf(step.Verify, "", "wait for new workers: %w", err)
		}
	}
}

// renewed counts the workers of m; ready tells whether each of them is new and knows that it is a worker.
func (m process) renewed(before []process) (working, draining int, ready bool) {
	ready = true
	for _, child := range m.children() {
		title := child.title()
		switch {
		case strings.HasPrefix(title, drainingTitle):
			draining++
		case isWorking(title):
			working++
			ready = ready && !slices.Contains(before, child)
		case strings.HasPrefix(title, masterTitle) && !slices.Contains(before, child):
			ready = false // just forked, about to become a worker
		}
	}
	return working, draining, ready && working > 0
}

// workers is the number of workers that the configuration asks for: 0 when it cannot be told.
type workers struct {
	number int
	auto   bool
}

func (w workers) String() string {
	switch {
	case w.auto:
		return fmt.Sprintf("auto (%d)", w.number)
	case w.number == 0:
		return "an unknown number of"
	}
	return strconv.Itoa(w.number)
}

// met tells whether there are enough. What "auto" means depends on the C library (all processors, or those that
// the process may use), so the former number will do as well.
func (w workers) met(have, former int) bool {
	if have == w.number {
		return true
	}
	return (w.auto || w.number == 0) && (former == 0 || have == former)
}

func (n *Nginx) workers(b build, t *tree) workers {
	w := workers{number: 1} // Nginx's default
	set := func(st *ngxconf.Statement) {
		if st.Name() != "worker_processes" || len(st.Words) != 2 {
			return
		}
		if st.Words[1].Text == "auto" {
			w = workers{number: onlineCPUs(), auto: true}
			return
		}
		number, err := strconv.Atoi(st.Words[1].Text)
		if err != nil {
			number = 0
		}
		w = workers{number: number}
	}
	if global, err := ngxconf.Parse([]byte(n.global(b))); err == nil {
		for i := range global {
			set(&global[i])
		}
	}
	t.mainly(set)
	return w
}

// onlineCPUs is sysconf(_SC_NPROCESSORS_ONLN): unlike [runtime.NumCPU] not only those that this process may use.
func onlineCPUs() int {
	text, _ := os.ReadFile("/sys/devices/system/cpu/online") // "0-3,6"
	count := 0
	for part := range strings.SplitSeq(strings.TrimSpace(string(text)), ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		a, err1 := strconv.Atoi(first)
		z, err2 := strconv.Atoi(last)
		if err1 != nil || err2 != nil {
			return runtime.NumCPU()
		}
		count += z - a + 1
	}
	return count
}
