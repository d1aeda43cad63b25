package main

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// child is a program that was started here. Package os is not asked to wait for it: whoever waits for any child, as an
// init has to, takes that answer away from os.
type child struct{ pid int } // 0: it does not run

func (c *child) runs() bool { return c.pid != 0 }

// start begins argv with this process's own files; a quiet one has nowhere to write to.
func (c *child) start(argv []string, loud bool) error {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	files := []uintptr{0, 1, 2}
	if !loud {
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer null.Close()
		files = []uintptr{null.Fd(), null.Fd(), null.Fd()}
	}
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{Env: os.Environ(), Files: files})
	if err != nil {
		return fmt.Errorf("start %s: %w", path, err)
	}
	c.pid = pid
	return nil
}

// signal sends it a signal, if it runs. Its number can't be another's: nobody but ended forgets it, and until it is
// reaped it is not used again.
func (c *child) signal(sig syscall.Signal) {
	if c.pid != 0 {
		_ = syscall.Kill(c.pid, sig) // its end is on the way
	}
}

// adopt makes orphans below us ours, also where this is not process 1 (a shared process namespace).
func adopt(log *slog.Logger) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		log.Warn("orphans are not adopted", "error", err)
	}
}

// reaped yields the children that have ended since it was last asked, orphans too.
func reaped() iter.Seq2[int, syscall.WaitStatus] {
	return func(yield func(int, syscall.WaitStatus) bool) {
		for {
			var how syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &how, syscall.WNOHANG, nil)
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			if err != nil || pid <= 0 || !yield(pid, how) {
				return
			}
		}
	}
}

// exitCode is what a shell would say of an end.
func exitCode(how syscall.WaitStatus) int {
	if how.Signaled() {
		return 128 + int(how.Signal())
	}
	return how.ExitStatus()
}

// killAll ends what is left below us, such as the workers of a killed Nginx. As process 1 the kernel would do it; in a
// shared process namespace nobody would.
func killAll() {
	for {
		killed := 0
		for _, pid := range children() {
			if syscall.Kill(pid, syscall.SIGKILL) == nil { // another user's may be out of reach
				killed++
			}
		}
		if killed == 0 {
			return
		}
		_, _ = syscall.Wait4(-1, nil, 0, nil) // until one is gone; it may have left orphans
	}
}

// children are the processes whose parent is this one.
func children() (pids []int) {
	lists, _ := filepath.Glob("/proc/self/task/*/children") // the pattern is right
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // the thread is gone
		}
		for _, word := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
