package nginx

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

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/step"
)

// One old worker that does not let go makes a reload unproven, not undone: the new workers serve.
func TestAStuckWorkerUndoesNothing(t *testing.T) {
	t.Parallel()
	s := running(t)
	s.n = s.open(Options{ReloadTimeout: minReloadTimeout})
	stuck := s.workers()[0]
	if err := syscall.Kill(stuck.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var out Outcome
	serverstest.Eventually(t, soon, func() (err error) {
		out, err = s.n.Apply(t.Context(), []File{{Path: s.out, Data: gen("g1")}}, s.generation())
		if err != nil && strings.Contains(err.Error(), "2 of 2 former workers") {
			return err // the machine was too busy for the other ones
		}
		checkError(t, err, step.Verify, "1 of the former ones still take connections")
		return nil
	})
	s.holds("conf.d/out.conf", gen("g1"))
	if !out.Changed || out.Running {
		t.Errorf("outcome %+v", out)
	}
	if err := syscall.Kill(stuck.PID, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	serverstest.Eventually(t, soon, func() error {
		if slices.Contains(s.workers(), stuck) {
			return fmt.Errorf("%d still works", stuck.PID)
		}
		return nil
	})
	if out := s.apply(File{Path: s.out, Data: gen("g1")}); !out.Running {
		t.Errorf("outcome when it has let go %+v", out)
	}
	s.serves("g1")
}

// In a binary upgrade the old master's workers go on: they count as old ones that may still send.
func TestWorkersOfTheMasterBeforeAnUpgradeCount(t *testing.T) {
	t.Parallel()
	s := running(t)
	if err := s.nginx.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.endDaemons)
	// Nginx upgrades itself only as a daemon.
	if said, err := exec.Command(s.nginx.Binary, "-p", s.dir, "-c", filepath.Join(s.dir, "nginx.conf")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	master := func(not int) (pid int) {
		t.Helper()
		serverstest.Eventually(t, soon, func() error {
			text, err := os.ReadFile(filepath.Join(s.dir, "nginx.pid"))
			if err != nil {
				return err
			}
			if pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err == nil && pid == not {
				err = errors.New("it is the old one still")
			}
			return err
		})
		return pid
	}
	two := func(master int) {
		t.Helper()
		serverstest.Eventually(t, soon, func() error {
			if state, err := s.n.State(t.Context()); err != nil || state.Master != master || state.Workers != 2 {
				return fmt.Errorf("state %+v, %v", state, err)
			}
			return nil
		})
	}
	old := master(0)
	two(old)
	if err := syscall.Kill(old, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	two(master(old))
	if state, err := s.n.State(t.Context()); err != nil || state.Draining != 2 {
		t.Errorf("state %+v, %v: the old master has 2 workers", state, err)
	}
}
