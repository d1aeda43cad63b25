package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	startWithin = time.Minute      // a server that is not ready by then has failed, on a busy machine, too
	stopWithin  = 30 * time.Second // one that has not ended by then is killed
	pollEvery   = 2 * time.Millisecond
)

// process is a child in a process group of its own, its output in a file.
type process struct {
	pid   int
	child *os.Process
	done  chan struct{} // closed when the child has ended and was waited for
	err   error         // how it ended; read after done
}

// spawn starts the child with its output appended to the file log. When this
// process dies, the kernel sends the child the signal orphaned (Linux only).
//
// That signal really follows the death of the thread that forked, and Go's
// threads may end before the process does. So a goroutine locked to its thread
// starts the child and stays until the child has ended.
func spawn(argv []string, dir, log string, orphaned syscall.Signal) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", argv[0], err)
	}
	defer out.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.SysProcAttr = attributes(orphaned)

	p := &process{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			p.pid, p.child = cmd.Process.Pid, cmd.Process
		}
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	return p, nil
}

func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// signal sends one signal to the child alone, never to a stranger who got its
// number since: then it is os.ErrProcessDone.
func (p *process) signal(sig syscall.Signal) error { return p.child.Signal(sig) }

// stop ends the child with sig and waits; one that does not heed it is killed
// with its whole group, which is an error.
func (p *process) stop(sig syscall.Signal) error {
	p.signal(syscall.SIGCONT) // a paused child would hear nothing else
	if err := p.signal(sig); errors.Is(err, os.ErrProcessDone) {
		return nil
	} else if err != nil {
		return fmt.Errorf("signal process %d: %w", p.pid, err)
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(stopWithin):
		p.kill()
		return fmt.Errorf("stop process %d: still there %v after %v, killed", p.pid, stopWithin, sig)
	}
}

// kill sends SIGKILL to the child and all of its group, and returns when none
// of them runs any more.
func (p *process) kill() error {
	if !p.alive() {
		return nil
	}
	if err := syscall.Kill(-p.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill process group %d: %w", p.pid, err)
	}
	<-p.done
	for deadline := time.Now().Add(stopWithin); groupRuns(p.pid); time.Sleep(pollEvery) {
		if time.Now().After(deadline) {
			return fmt.Errorf("kill process group %d: still running %v later", p.pid, stopWithin)
		}
	}
	return nil
}

// tail returns the last lines of a log for an error message.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "no log: " + err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// waitReady polls ready until it returns nil. It fails when the child ends,
// ctx is done or startWithin has passed, and then leaves no child behind.
func (p *process) waitReady(ctx context.Context, ready func() error) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("it ended at once: %v", p.err)
		case <-ctx.Done():
			p.kill()
			return fmt.Errorf("not ready: %w (last: %v)", ctx.Err(), err)
		case <-time.After(pollEvery):
		}
	}
}
