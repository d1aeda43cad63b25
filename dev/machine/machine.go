// Package machine is a booted Debian for tests: Debian's own systemd, Nginx and Redis in a container with a network of
// its own, which is nothing but loopback. It needs root, systemd-nspawn, and debootstrap for the first time. It knows
// nothing of what is tested in it.
package machine

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/nginx-test/base"
)

// Soon bounds every wait for something that takes moments on a quiet machine.
const Soon = 45 * time.Second

// packages are what the machine has beyond Debian's minimal base.
var packages = []string{"systemd", "systemd-sysv", "dbus", "procps", "nginx", "libnginx-mod-http-lua", "openssl", "redis-server", "prometheus", "rpm"}

// Machine is a booted Debian. Its network is its own: nothing but loopback.
type Machine struct {
	Init int    // its process 1, as we see it
	Root string // its files, as we see them
}

// Boot returns when all units of the machine have started.
func Boot(t testing.TB) *Machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("to boot a machine one has to be root")
	}
	// Made once; the machine boots on a throw-away layer above it.
	root, err := base.Debian(t.Context(), "bookworm", packages...)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--quiet", "--boot", "--private-network", "--volatile=overlay", "--link-journal=no", "--kill-signal=SIGKILL",
		"--machine=bazbeans-" + strconv.Itoa(os.Getpid()), "--directory=" + root}
	cmd := exec.Command("systemd-nspawn", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // it kills the machine when we are killed
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		// This host was not booted by systemd: nobody gives the machine a control group, so we do.
		group := controlGroup(t)
		cmd.Args = append(cmd.Args, "--register=no", "--keep-unit")
		cmd.Env = append(os.Environ(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1")
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(group.Fd())
	}
	var console strings.Builder
	cmd.Stdout, cmd.Stderr = &console, &console
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // the signal really follows the death of the thread that forked
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // killed, so it failed
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("%v (install systemd-container)", err)
	}
	m := &Machine{}
	t.Cleanup(func() {
		if m.Init != 0 {
			_ = syscall.Kill(m.Init, syscall.SIGKILL) // and with it all of its namespace
		} else {
			_ = cmd.Process.Kill()
		}
		<-ended
	})
	up := Until(func() bool {
		m.Init = child(cmd.Process.Pid)
		if m.Init == 0 {
			return false
		}
		out, _ := m.Run("systemctl", "is-system-running")
		return strings.HasPrefix(out, "running")
	})
	if !up {
		failed, _ := m.Run("systemctl", "--failed", "--no-pager")
		t.Fatalf("the machine does not boot\n%s\n%s", console.String(), failed)
	}
	m.Root = fmt.Sprintf("/proc/%d/root", m.Init)
	return m
}

// controlGroup makes a group that is removed with all processes in it.
func controlGroup(t testing.TB) *os.File {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	top := ""
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); f[2] == "cgroup2" {
			top = f[1]
		}
	}
	if top == "" {
		t.Fatal("no control groups (version 2) are mounted")
	}
	dir, err := os.MkdirTemp(top, "bazbeans-") // a killed process with our number may have left one
	if err != nil {
		t.Fatalf("make a control group: %v", err)
	}
	group, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		group.Close()
		gone := Until(func() bool {
			_ = os.WriteFile(dir+"/cgroup.kill", []byte("1"), 0)
			_ = exec.Command("find", dir, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";").Run()
			_, err := os.Stat(dir)
			return err != nil
		})
		if !gone {
			t.Errorf("%s can't be removed", dir)
		}
	})
	return group
}

// child is the only child of a process; 0: it has none yet.
func child(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	id, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return id
}
