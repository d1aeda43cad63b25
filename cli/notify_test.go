package cli

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// manager is a service manager's end of the socket.
func manager(t *testing.T, socket string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", socket)
	return conn
}

// told is the next message, which is there already: a datagram on a local socket doesn't travel. One that is expected is
// read however long the machine stands still before the read.
func told(t *testing.T, conn *net.UnixConn, expected bool) string {
	t.Helper()
	within := 10 * time.Millisecond
	if expected {
		within = time.Minute
	}
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1000)
	n, err := conn.Read(buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

func TestNotifier(t *testing.T) {
	for _, socket := range []string{filepath.Join(t.TempDir(), "notify"), fmt.Sprintf("@bazbeans-test-%d", os.Getpid())} {
		conn := manager(t, socket)
		t.Setenv("WATCHDOG_USEC", "60000000")
		t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
		n := NewNotifier(slog.New(slog.DiscardHandler))
		for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
			if v, ok := os.LookupEnv(name); ok {
				t.Errorf("children would inherit %s=%s", name, v)
			}
		}
		if n.Every() != 30*time.Second {
			t.Errorf("ping every %s", n.Every())
		}
		for _, c := range []struct {
			say  func()
			want string
		}{
			{n.Ready, "READY=1"},
			{n.Alive, "WATCHDOG=1"},
			{n.Alive, ""}, // so soon after the last
			{func() { n.Status("serving 2 nodes,\n generation 3") }, "STATUS=serving 2 nodes, generation 3"},
			{func() { n.Status("serving 2 nodes, generation 3") }, ""},
			{n.Reloading, `RELOADING=1\nMONOTONIC_USEC=[1-9]\d+`},
			{n.Stopping, "STOPPING=1"},
		} {
			c.say()
			if got := told(t, conn, c.want != ""); !regexp.MustCompile("^" + c.want + "$").MatchString(got) {
				t.Errorf("%s: told %q, want %q", socket, got, c.want)
			}
		}
	}
}

func TestNobodyListens(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "1000000")
	for _, n := range []*Notifier{nil, NewNotifier(slog.New(slog.DiscardHandler))} {
		n.Ready()
		n.Alive()
		n.Status("x")
		n.Reloading()
		n.Stopping()
		if n.Every() != 0 {
			t.Errorf("a watchdog that nobody keeps: %s", n.Every())
		}
	}
}

func TestTheWatchdogOfAnother(t *testing.T) {
	for pid, usec := range map[string]string{"1": "1000000", "": "0"} {
		manager(t, filepath.Join(t.TempDir(), "notify"))
		t.Setenv("WATCHDOG_PID", pid)
		t.Setenv("WATCHDOG_USEC", usec)
		if n := NewNotifier(slog.New(slog.DiscardHandler)); n.Every() != 0 {
			t.Errorf("WATCHDOG_PID=%q WATCHDOG_USEC=%s: ping every %s", pid, usec, n.Every())
		}
	}
}

func TestALostManagerIsSaidOnce(t *testing.T) {
	conn := manager(t, filepath.Join(t.TempDir(), "notify"))
	var out bytes.Buffer
	n := NewNotifier(slog.New(slog.NewTextHandler(&out, nil)))
	conn.Close()
	n.Ready()
	n.Stopping()
	if got := strings.Count(out.String(), "can't be told"); got != 1 {
		t.Errorf("said %d times: %s", got, out.String())
	}
}
