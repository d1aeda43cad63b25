package nginx

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process is one process: a pid alone may be another's tomorrow.
type process struct {
	PID   int
	Start uint64 // ticks of 10 ms since boot, from /proc/PID/stat
}

// The titles that Nginx gives to its processes (src/os/unix/ngx_process_cycle.c). A draining worker's ends in
// " is shutting down", or in as much of that as there is room for.
const (
	masterTitle = "nginx: master process"
	workerTitle = "nginx: worker process"
)

func isWorking(title string) bool  { return title == workerTitle }
func isDraining(title string) bool { return strings.HasPrefix(title, workerTitle+" ") }

// stat returns the process of a pid and its parent. ok is false when it has ended.
func stat(pid int) (p process, parent int, ok bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, 0, false
	}
	// "pid (name) state ppid …", where name may hold spaces and brackets; the 22nd field is the start.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 || fields[0][0] == 'Z' || fields[0][0] == 'X' {
		return process{}, 0, false
	}
	parent, err1 := strconv.Atoi(string(fields[1]))
	start, err2 := strconv.ParseUint(string(fields[19]), 10, 64)
	return process{pid, start}, parent, err1 == nil && err2 == nil
}

// alive tells whether p has not ended.
func (p process) alive() bool {
	now, _, ok := stat(p.PID)
	return ok && now == p
}

// title is the process's command line, which Nginx overwrites with its title; "" when it has ended.
func (p process) title() string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID) + "/cmdline")
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(bytes.ReplaceAll(text, []byte{0}, []byte{' '})), " ")
}

// working tells whether p is a worker that still takes connections.
func (p process) working() bool { return isWorking(p.title()) && p.alive() }

// children lists the child processes of p. A child that ends or is born meanwhile may be missing.
func (p process) children() []process {
	id := strconv.Itoa(p.PID)
	if text, err := os.ReadFile("/proc/" + id + "/task/" + id + "/children"); err == nil {
		return p.childrenAmong(strings.Fields(string(text)))
	}
	names, err := readNames("/proc") // a kernel without CONFIG_PROC_CHILDREN
	if err != nil {
		return nil
	}
	return p.childrenAmong(names)
}

func (p process) childrenAmong(names []string) []process {
	var list []process
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if child, parent, ok := stat(pid); ok && parent == p.PID {
			list = append(list, child)
		}
	}
	return list
}

// hangupPending tells whether a SIGHUP sent to p waits to be taken: Nginx's master takes signals only when it has
// finished what it is doing.
func (p process) hangupPending() bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID) + "/status")
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(text, []byte("\nShdPnd:"))
	mask, _, _ := bytes.Cut(bytes.TrimSpace(rest[:min(len(rest), 40)]), []byte{'\n'})
	set, err := strconv.ParseUint(string(mask), 16, 64)
	return err == nil && set&(1<<(unix.SIGHUP-1)) != 0
}

// started is the time at which p began, true to 10 ms, on the clock by which files get their times.
func (p process) started() (time.Time, error) {
	var wall, boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &wall); err != nil {
		return time.Time{}, fmt.Errorf("read clock: %w", err)
	}
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return time.Time{}, fmt.Errorf("read clock: %w", err)
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every architecture that Go knows
	return time.Unix(0, wall.Nano()-boot.Nano()).Add(time.Duration(p.Start) * tick), nil
}
