// Package systemd is the units of lbd and bbagent, and tests that boot Debian with them: Debian's own systemd, Nginx and
// Redis in a container with a network of its own. It holds no code.
package systemd

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bazbeans/bazbeans/nginx-test/base"
)

var (
	boot     = flag.Bool("boot", false, "boot Debian in a container and test the units there (make test-systemd); needs root, systemd-nspawn, and debootstrap for the first time")
	binaries = flag.String("bin", "", "a `folder` with the lbd, bbagent and bbctl to test; they are built if there is none")
)

// soon bounds every wait for something that takes moments on a quiet machine.
const soon = 20 * time.Second

// packages are what the machine has beyond Debian's minimal base.
var packages = []string{"systemd", "systemd-sysv", "dbus", "procps", "nginx", "libnginx-mod-http-lua", "openssl", "redis-server", "prometheus"}

// machine is a booted Debian. Its network is its own: nothing but loopback.
type machine struct {
	init int    // its process 1, as we see it
	root string // its files, as we see them
}

// bootDebian returns when all units of the machine have started.
func bootDebian(t *testing.T) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("to boot a machine one has to be root")
	}
	// Made once; the machine boots on a throw-away layer above it.
	root, err := base.Debian(t.Context(), "bookworm", packages...)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--quiet", "--boot", "--private-network", "--volatile=overlay", "--link-journal=no",
		"--machine=bazbeans-" + strconv.Itoa(os.Getpid()), "--directory=" + root}
	cmd := exec.Command("systemd-nspawn", args...)
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		// This host was not booted by systemd: nobody gives the machine a control group, so we do.
		group := controlGroup(t)
		cmd.Args = append(cmd.Args, "--register=no", "--keep-unit")
		cmd.Env = append(os.Environ(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())}
	}
	var console strings.Builder
	cmd.Stdout, cmd.Stderr = &console, &console
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (install systemd-container)", err)
	}
	m := &machine{}
	t.Cleanup(func() {
		if m.init != 0 {
			_ = syscall.Kill(m.init, syscall.SIGKILL) // and with it all of its namespace
		} else {
			_ = cmd.Process.Kill()
		}
		_ = cmd.Wait() // killed, so it failed
	})
	up := until(func() bool {
		m.init = child(cmd.Process.Pid)
		if m.init == 0 {
			return false
		}
		out, _ := m.run("systemctl", "is-system-running")
		return strings.HasPrefix(out, "running")
	})
	if !up {
		failed, _ := m.run("systemctl", "--failed", "--no-pager")
		t.Fatalf("the machine does not boot\n%s\n%s", console.String(), failed)
	}
	m.root = fmt.Sprintf("/proc/%d/root", m.init)
	return m
}

// controlGroup makes a group that is removed with all processes in it.
func controlGroup(t *testing.T) *os.File {
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
	dir := filepath.Join(top, "bazbeans-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(dir, 0o755); top == "" || err != nil {
		t.Fatalf("make a control group (version 2): %v", err)
	}
	group, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		group.Close()
		gone := until(func() bool {
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

// run runs a program in the machine and returns all that it says.
func (m *machine) run(args ...string) (string, error) {
	out, err := exec.Command("nsenter", append([]string{"--target", strconv.Itoa(m.init), "--all"}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (m *machine) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := m.run(args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// show is one property of a unit.
func (m *machine) show(t *testing.T, unit, property string) string {
	t.Helper()
	return m.must(t, "systemctl", "show", unit, "--value", "--property", property)
}

// write makes a file in the machine.
func (m *machine) write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	path = m.root + path
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(text), mode)
	}
	if err == nil {
		err = os.Chmod(path, mode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// copy copies a file of ours into the machine.
func (m *machine) copy(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	m.write(t, to, string(text), mode)
}

// network calls fn, which makes one socket, in the machine's network.
func (m *machine) network(fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		done <- func() error {
			ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", m.init))
			if err != nil {
				return err
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter the machine's network: %w", err)
			}
			return fn()
		}()
	}()
	return <-done
}

func (m *machine) dial(addr string) (conn net.Conn, err error) {
	err = m.network(func() error { conn, err = net.DialTimeout("tcp", addr, soon); return err })
	return conn, err
}

func (m *machine) listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	var ln net.Listener
	if err := m.network(func() (err error) { ln, err = net.Listen("tcp", addr); return err }); err != nil {
		t.Fatal(err)
	}
	return ln
}

// addAddress gives the machine one more address. Debian's minimal base has no program for that.
func (m *machine) addAddress(t *testing.T, prefix string) {
	t.Helper()
	if out, err := exec.Command("nsenter", "--target", strconv.Itoa(m.init), "--net", "ip", "address", "add", prefix, "dev", "lo").CombinedOutput(); err != nil {
		t.Fatalf("%v (install iproute2)\n%s", err, out)
	}
}

// until polls for a condition, for as long as it may take.
func until(is func() bool) bool {
	for end := time.Now().Add(soon); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if is() {
			return true
		}
	}
	return is()
}

// eventually fails the test if a condition does not come true; state says how it is instead.
func eventually(t *testing.T, what string, is func() bool, state func() string) {
	t.Helper()
	if !until(is) {
		t.Fatalf("not within %s: %s\n%s", soon, what, state())
	}
}
