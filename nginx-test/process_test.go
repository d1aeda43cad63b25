package nginxtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// daemon is a process that runs until it is told to stop.
type daemon struct {
	t     testing.TB
	name  string
	cmd   *exec.Cmd
	log   serverstest.Transcript // stderr
	ended chan struct{}          // closed when it has ended
}

// command is a process in an environment of its own: no setting of whoever runs the tests reaches it. A name without
// a folder is one of the binaries under test.
func command(dir, name string, args ...string) *exec.Cmd {
	if filepath.Base(name) == name {
		name = filepath.Join(bin, name)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	// Also when this process is killed, nothing stays behind. What it runs is in a group with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	return cmd
}

// start runs a daemon; the test's end kills it.
func start(t testing.TB, dir, name string, args ...string) *daemon {
	t.Helper()
	d := &daemon{t: t, name: filepath.Base(name), cmd: command(dir, name, args...), ended: make(chan struct{})}
	d.cmd.Stderr = &d.log
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // Pdeathsig goes by the thread that forked: it must live as long as the child
		defer runtime.UnlockOSThread()
		err := d.cmd.Start()
		started <- err
		if err == nil {
			_ = d.cmd.Wait() // its exit code is in ProcessState
			close(d.ended)
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-d.ended:
		default: // a test of nginx that lbd has just begun would go on in a folder that goes
			_ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL)
		}
		d.kill()
		if t.Failed() {
			t.Logf("%s %s said:\n%s", d.name, strings.Join(args, " "), d.log.String())
		}
	})
	return d
}

func (d *daemon) signal(s os.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		d.t.Fatalf("send %s to %s: %v", s, d.name, err)
	}
}

// kill ends it at once, as kill -9 does, and waits for its end.
func (d *daemon) kill() {
	d.t.Helper()
	if err := d.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		d.t.Errorf("kill %s: %v", d.name, err)
	}
	<-d.ended
}

// stop sends SIGTERM and wants a good end.
func (d *daemon) stop() {
	d.t.Helper()
	d.signal(syscall.SIGTERM)
	d.wantExit(0)
}

func (d *daemon) wantExit(code int) {
	d.t.Helper()
	serverstest.Eventually(d.t, soon, func() error {
		select {
		case <-d.ended:
			return nil
		default:
			return fmt.Errorf("%s has not ended", d.name)
		}
	})
	if got := d.cmd.ProcessState.ExitCode(); got != code {
		d.t.Errorf("%s: exit code %d, want %d; it said:\n%s", d.name, got, code, d.log.String())
	}
}

// wantLog waits for a line with all of the texts.
func (d *daemon) wantLog(texts ...string) {
	d.t.Helper()
	serverstest.Eventually(d.t, soon, func() error {
		for line := range strings.Lines(d.log.String()) {
			if containsAll(line, texts...) {
				return nil
			}
		}
		return fmt.Errorf("%s has not said %q", d.name, texts)
	})
}

func containsAll(text string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}

// result is what a command came to.
type result struct {
	code           int
	stdout, stderr string
}

func (r result) String() string {
	return fmt.Sprintf("exit code %d, stdout:\n%s\nstderr:\n%s", r.code, r.stdout, r.stderr)
}

// run runs a command to its end.
func run(t testing.TB, dir, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*soon)
	defer cancel()
	cmd := command(dir, name, args...)
	var stdout, stderr serverstest.Transcript
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	runtime.LockOSThread() // as in start
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() }) // it may have ended by itself
	defer stop()
	_ = cmd.Wait() // its exit code is in ProcessState
	if ctx.Err() != nil {
		t.Fatalf("%s %q has not ended within %s; it said:\n%s", name, args, 3*soon, stderr.String())
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}
