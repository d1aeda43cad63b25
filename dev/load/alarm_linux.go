package load

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm lets one goroutine sleep. It is a timer of the kernel's, because Go's
// own wake an idle program up to a millisecond late (the runtime waits in
// epoll_wait, whose time-out counts whole milliseconds), which is longer than
// most answers take on loopback.
type alarm struct {
	fd   int
	file *os.File // owns fd, and waits for it without a thread
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create timer: %w", err)
	}
	return &alarm{fd: fd, file: os.NewFile(uintptr(fd), "timer")}, nil
}

// sleep returns after d, which is above 0, or earlier once wake was called.
func (a *alarm) sleep(d time.Duration) {
	once := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	if err := unix.TimerfdSettime(a.fd, 0, &once, nil); err != nil {
		panic(err) // only for a bad descriptor or a bad time
	}
	var expirations [8]byte
	a.file.Read(expirations[:]) // an error is the deadline that wake has set
}

// wake ends this sleep and all later ones. Any goroutine may call it.
func (a *alarm) wake() { a.file.SetReadDeadline(time.Now()) }

func (a *alarm) close() { a.file.Close() }
