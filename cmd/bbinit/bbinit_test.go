package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// asInit makes the test's own binary bbinit.
const asInit = "BBINIT_IS_TESTED"

func TestMain(m *testing.M) {
	if os.Getenv(asInit) != "" {
		main()
	}
	os.Exit(m.Run())
}

const soon = time.Minute

// box is a bbinit, and a folder where its programs, which are shell scripts, leave their marks: lines of "log".
type box struct {
	t   *testing.T
	dir string
	cmd *exec.Cmd
	out serverstest.Transcript
}

// begin starts bbinit; main and second are the texts of scripts that run in the box's folder, second may be "".
func begin(t *testing.T, flags []string, main, second string) *box {
	t.Helper()
	b := &box{t: t, dir: t.TempDir()}
	args := append(slices.Clone(flags), "sh", "-c", main)
	if second != "" {
		args = append(args, "--", "sh", "-c", second)
	}
	b.cmd = exec.Command(os.Args[0], args...)
	b.cmd.Env = append(os.Environ(), asInit+"=1")
	b.cmd.Dir = b.dir
	b.cmd.Stdout, b.cmd.Stderr = &b.out, &b.out
	b.cmd.WaitDelay = soon // a process left over would hold our end of the pipe
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if b.cmd.ProcessState == nil {
			_ = b.cmd.Process.Kill()
			for _, pid := range b.children() {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			_ = b.cmd.Wait() // killed
		}
	})
	return b
}

func (b *box) marks() []string {
	text, _ := os.ReadFile(filepath.Join(b.dir, "log")) // there may be none yet
	return strings.Fields(string(text))
}

// sees waits until the marks are these, in this order.
func (b *box) sees(want ...string) {
	b.t.Helper()
	b.until("the marks are "+strings.Join(want, " "), func() bool { return slices.Equal(b.marks(), want) })
}

func (b *box) until(what string, is func() bool) {
	b.t.Helper()
	for end := time.Now().Add(soon); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("not within %s: %s; the marks are %s\n%s", soon, what, b.marks(), b.out.String())
		}
	}
}

func (b *box) signal(sig syscall.Signal) {
	b.t.Helper()
	if err := b.cmd.Process.Signal(sig); err != nil {
		b.t.Fatal(err)
	}
}

// ends waits for bbinit's end and returns its exit code.
func (b *box) ends() int {
	b.t.Helper()
	stuck := time.AfterFunc(soon, func() { _ = b.cmd.Process.Kill() })
	defer stuck.Stop()
	err := b.cmd.Wait()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		b.t.Fatalf("%v\n%s", err, b.out.String())
	}
	return b.cmd.ProcessState.ExitCode()
}

// children are bbinit's, with zombies.
func (b *box) children() (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", b.cmd.Process.Pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, word := range strings.Fields(string(text)) {
			pid, _ := strconv.Atoi(word)
			pids = append(pids, pid)
		}
	}
	return pids
}

// pid is the number that a script left in a file.
func (b *box) pid(name string) (pid int) {
	b.t.Helper()
	b.until(name+" has written its process id", func() bool {
		text, _ := os.ReadFile(filepath.Join(b.dir, name))
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return pid > 0
	})
	return pid
}
