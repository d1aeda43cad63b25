package cli

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Notifier tells the service manager how a daemon does, by sd_notify(3)'s protocol: one datagram for each thing told.
// A nil Notifier, and one made where no service manager listens, tells nobody; so does it cost nothing to have one.
// Its methods may be called from any goroutine.
//
// A daemon uses it like this:
//
//   - main makes one with NewNotifier before it starts any other program, and hands it to what runs the loop.
//   - The loop calls Ready once, when it begins to run. Not when Redis or Nginx answers: a unit that waits for them
//     fails its start while they are away, and being away is a state, not a failure.
//   - The loop calls Alive at the end of each turn, and may call it after each step of a turn that has a time limit of
//     its own. Nobody else calls it, and no timer: a ping has to mean that work gets done. The loop therefore comes
//     round at least once in Every, also when there is nothing to do (Every is 0 where nobody waits for a ping).
//   - SIGHUP: Reloading, then Ready when the new settings are in use or were refused.
//   - Stopping, when the daemon begins to end.
//   - Status at any time: a line for `systemctl status`, like "serving 12 nodes, generation 41". It is sent when it
//     differs from the one before.
type Notifier struct {
	socket string
	every  time.Duration
	log    *slog.Logger

	mu     sync.Mutex
	alive  time.Time // of the last ping
	status string
	failed bool
}

// NewNotifier reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and takes them out of the environment: a child that
// inherited them (nginx -t, a callback) could speak for us. log hears of the first message that can't be sent.
func NewNotifier(log *slog.Logger) *Notifier {
	take := func(name string) string {
		value := os.Getenv(name)
		_ = os.Unsetenv(name) // fails for a bad name only
		return value
	}
	n := &Notifier{socket: take("NOTIFY_SOCKET"), log: log}
	usec, err := strconv.ParseInt(take("WATCHDOG_USEC"), 10, 64)
	pid := take("WATCHDOG_PID")
	if err == nil && usec > 0 && n.socket != "" && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		n.every = time.Duration(usec) * time.Microsecond / 2 // half of the limit, as sd_watchdog_enabled(3) advises
	}
	return n
}

// Every is the longest time between two calls of Alive that the watchdog is sure to forgive; 0: there is no watchdog.
func (n *Notifier) Every() time.Duration {
	if n == nil {
		return 0
	}
	return n.every
}

// Ready says that the daemon does its work, after its start or after Reloading.
func (n *Notifier) Ready() { n.send("READY=1") }

// Reloading says that settings are read again; Ready has to follow.
func (n *Notifier) Reloading() {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // fails for an unknown clock only
	n.send(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000))
}

// Stopping says that the daemon has begun to end.
func (n *Notifier) Stopping() { n.send("STOPPING=1") }

// Alive says that the loop has come round. Of many calls in a short time few become a message.
func (n *Notifier) Alive() {
	if n.Every() == 0 {
		return
	}
	n.mu.Lock()
	due := time.Since(n.alive) >= n.every/4
	if due {
		n.alive = time.Now()
	}
	n.mu.Unlock()
	if due {
		n.send("WATCHDOG=1")
	}
}

// Status shows one line to people.
func (n *Notifier) Status(text string) {
	if n == nil {
		return
	}
	text = strings.Join(strings.Fields(text), " ") // a line break would begin another message
	n.mu.Lock()
	news := text != n.status
	n.status = text
	n.mu.Unlock()
	if news {
		n.send("STATUS=" + text)
	}
}

// send gives up quickly and says so once: no daemon stops its work because nobody listens.
func (n *Notifier) send(message string) {
	if n == nil || n.socket == "" {
		return
	}
	err := func() error {
		conn, err := net.Dial("unixgram", n.socket) // a leading @ is an abstract socket, to Go as to systemd
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		_, err = conn.Write([]byte(message))
		return err
	}()
	n.mu.Lock()
	first := err != nil && !n.failed
	n.failed = err != nil
	n.mu.Unlock()
	if first {
		n.log.Warn("the service manager can't be told how we do", "error", err)
	}
}
