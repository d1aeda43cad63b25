package ctl

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal opens a pseudo terminal that is so many cells wide, and returns its two ends.
func terminal(t *testing.T, width uint16) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { screen.Close() })
	fd := int(screen.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: width}); err != nil {
		t.Fatal(err)
	}
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return screen, tty
}

// On a terminal: as wide as it is, with colour unless NO_COLOR or TERM speak against it.
func TestTerminal(t *testing.T) {
	s := newSite(t)
	s.node("web1", true)
	s.node("web2", false, "is_frozen", "true", "details", strings.Repeat("long ", 40))
	for _, c := range []struct {
		noColor, term string
		colour        bool
	}{{"", "xterm", true}, {"1", "xterm", false}, {"", "dumb", false}} {
		t.Setenv("NO_COLOR", c.noColor)
		t.Setenv("TERM", c.term)
		screen, tty := terminal(t, 70)
		var stderr bytes.Buffer
		if code := Main(t.Context(), []string{"list-nodes", "--redis-url", s.url}, nil, tty, &stderr); code != 0 || stderr.Len() > 0 {
			t.Fatalf("exit %d: %s", code, stderr.String())
		}
		buf := make([]byte, 1<<16) // it is there: what a terminal was written stays until it is read
		n, err := screen.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got := string(buf[:n])
		if has := strings.Contains(got, "\x1b[32mactive\x1b[0m") && strings.Contains(got, "\x1b[31munhealthy\x1b[0m"); has != c.colour {
			t.Errorf("%+v: colour %v in %q", c, has, got)
		}
		if !c.colour && strings.Contains(got, "\x1b") {
			t.Errorf("%+v: %q", c, got)
		}
		for _, line := range strings.Split(strings.NewReplacer("\x1b[32m", "", "\x1b[31m", "", "\x1b[0m", "").Replace(got), "\r\n") {
			if cells(line) > 70 {
				t.Errorf("%d cells: %q", cells(line), line)
			}
		}
		if !strings.Contains(got, "long…") && !strings.Contains(got, "…\r\n") || !strings.HasPrefix(got, "2 nodes: 1 active, 1 unhealthy · no load balancer\r\n") {
			t.Errorf("%q", got)
		}
	}
}
