package dev

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// binary is bbdev as a process of its own, with a folder for its temporary files.
type binary struct {
	*exec.Cmd
	tmp   string
	nginx string // host:port

	mu  sync.Mutex
	out bytes.Buffer
}

func (b *binary) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.Write(p)
}

func (b *binary) said() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.String()
}

// command prepares bbdev; terminal, if not nil, is its input, output and controlling terminal.
func command(t *testing.T, terminal *os.File, args ...string) *binary {
	port := serverstest.Ports(t, 1)[0] // a usual one may be another site's once this one has ended
	// A POST that meets a node's death, or a reload, may fail.
	args = append(args, fmt.Sprintf("--http-port=%d", port), "--posts=0")
	b := &binary{Cmd: exec.Command(os.Args[0], args...), tmp: serverstest.Dir(t), nginx: servers.Loopback(port)}
	b.Env = append(os.Environ(), asBinary+"=1", "TMPDIR="+b.tmp, "XDG_CONFIG_HOME="+b.tmp, "TERM=xterm")
	if terminal != nil {
		b.Stdin, b.Stdout, b.Stderr = terminal, terminal, terminal
		b.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	} else {
		b.Stdout, b.Stderr = b, b
	}
	return b
}

// start starts it and waits until it serves.
func (b *binary) start(t *testing.T) {
	t.Helper()
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Process.Kill() }) // if it has not ended; its Nginx ends with it
	b.until(t, "serve after")
}

func (b *binary) until(t *testing.T, text string) {
	t.Helper()
	serverstest.Eventually(t, time.Minute, func() error {
		if !strings.Contains(b.said(), text) {
			return fmt.Errorf("%q is not in its output:\n%s", text, b.said())
		}
		return nil
	})
}

// gone waits until Nginx has ended.
func (b *binary) gone(t *testing.T) {
	t.Helper()
	serverstest.Eventually(t, time.Minute, func() error {
		if c, err := net.Dial("tcp", b.nginx); err == nil {
			c.Close()
			return errors.New("nginx still takes connections")
		}
		return nil
	})
}

func (b *binary) leftNothing(t *testing.T) {
	t.Helper()
	b.gone(t)
	if left, _ := os.ReadDir(b.tmp); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestBinaryEndsInOrder(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			b := command(t, nil)
			b.start(t)
			b.until(t, " freeze web2 --wait")
			b.Process.Signal(sig)
			if err := b.Wait(); err != nil {
				t.Errorf("%v, after:\n%s", err, b.said())
			}
			if !strings.Contains(b.said(), " 0 failed,") {
				t.Errorf("it does not end with its counts:\n%s", b.said())
			}
			b.leftNothing(t)
		})
	}
}

func TestBinaryKilledLeavesNoNginx(t *testing.T) {
	b := command(t, nil)
	b.start(t)
	b.Process.Kill()
	b.Wait()
	b.gone(t)
}

func TestBinarySecondSignalEndsItAtOnce(t *testing.T) {
	// Who is started in a script's background ignores SIGINT, and so do its children unless it takes the signal itself.
	taken := make(chan os.Signal, 1)
	signal.Notify(taken, syscall.SIGINT)
	defer signal.Stop(taken)
	b := command(t, nil, "--log")
	b.start(t)
	b.Process.Signal(syscall.SIGINT)
	ended := make(chan error)
	go func() { ended <- b.Wait() }()
	for waiting := true; waiting; {
		select {
		case err := <-ended:
			waiting = false
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
				t.Errorf("%v: it did not end by the second signal", err)
			}
		case <-time.After(time.Millisecond):
			b.Process.Signal(syscall.SIGINT)
		}
	}
	b.gone(t)
}

func TestBinaryOnATerminal(t *testing.T) {
	near, far := openTerminalPair(t)
	before, err := unix.IoctlGetTermios(int(far.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	unix.IoctlSetWinsize(int(far.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 100, Row: 30})
	b := command(t, far)
	read := make(chan struct{})
	go func() {
		defer close(read)
		io.Copy(b, near) // until the test closes it
	}()
	b.start(t)
	b.until(t, "BazBeans demo")
	io.WriteString(near, "3")
	b.until(t, "web3 killed")
	io.WriteString(near, "3")
	b.until(t, "web3 started")
	io.WriteString(near, "q")
	if err := b.Wait(); err != nil {
		t.Error(err)
	}
	after, err := unix.IoctlGetTermios(int(far.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if *after != *before {
		t.Errorf("the terminal is %+v, was %+v", after, before)
	}
	b.until(t, " 0 failed,") // the last words may still be on their way
	near.Close()
	<-read
	if _, end, _ := strings.Cut(b.said(), "\x1b[?1049l"); !strings.Contains(end, " 0 failed,") || strings.Contains(end, "\x1b") {
		t.Errorf("after the picture it says %q", end)
	}
	b.leftNothing(t)
}

// openTerminalPair returns both sides of a pseudo-terminal (see pts(4)): what is written to near is typed at far.
func openTerminalPair(t *testing.T) (near, far *os.File) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatalf("open a pseudo-terminal: %v", err)
	}
	near = os.NewFile(uintptr(fd), "/dev/ptmx") // not blocking: Close ends a Read
	t.Cleanup(func() { near.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if far, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	return near, far
}
