package machine

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Run runs a program in the machine and returns all that it says.
func (m *Machine) Run(args ...string) (string, error) {
	out, err := exec.Command("nsenter", append([]string{"--target", strconv.Itoa(m.Init), "--all"}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// Must is Run, and fails the test if the program fails.
func (m *Machine) Must(t testing.TB, args ...string) string {
	t.Helper()
	out, err := m.Run(args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// Show is one property of a unit.
func (m *Machine) Show(t testing.TB, unit, property string) string {
	t.Helper()
	return m.Must(t, "systemctl", "show", unit, "--value", "--property", property)
}

// Write makes a file in the machine.
func (m *Machine) Write(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	path = m.Root + path
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

// Copy copies a file of ours into the machine.
func (m *Machine) Copy(t testing.TB, from, to string, mode os.FileMode) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	m.Write(t, to, string(text), mode)
}

// network calls fn, which makes one socket, in the machine's network.
func (m *Machine) network(fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		done <- func() error {
			ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", m.Init))
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

// Dial connects to a TCP address in the machine.
func (m *Machine) Dial(addr string) (conn net.Conn, err error) {
	err = m.network(func() error { conn, err = net.DialTimeout("tcp", addr, Soon); return err })
	return conn, err
}

// Listen listens at a TCP address in the machine.
func (m *Machine) Listen(t testing.TB, addr string) net.Listener {
	t.Helper()
	var ln net.Listener
	if err := m.network(func() (err error) { ln, err = net.Listen("tcp", addr); return err }); err != nil {
		t.Fatal(err)
	}
	return ln
}

// AddAddress gives the machine one more address. Debian's minimal base has no program for that.
func (m *Machine) AddAddress(t testing.TB, prefix string) {
	t.Helper()
	if out, err := exec.Command("nsenter", "--target", strconv.Itoa(m.Init), "--net", "ip", "address", "add", prefix, "dev", "lo").CombinedOutput(); err != nil {
		t.Fatalf("%v (install iproute2)\n%s", err, out)
	}
}

// Until polls for a condition, for as long as it may take.
func Until(is func() bool) bool {
	for end := time.Now().Add(Soon); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if is() {
			return true
		}
	}
	return is()
}

// Eventually fails the test if a condition does not come true; state says how it is instead.
func Eventually(t testing.TB, what string, is func() bool, state func() string) {
	t.Helper()
	if !Until(is) {
		t.Fatalf("not within %s: %s\n%s", Soon, what, state())
	}
}

// Journal is the end of what a unit and systemd said of it.
func (m *Machine) Journal(unit string, more ...string) string {
	out, _ := m.Run(append([]string{"journalctl", "--no-pager", "--output=cat", "--lines=30", "--unit=" + unit}, more...)...)
	return out
}
