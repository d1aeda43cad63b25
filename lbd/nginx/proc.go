package nginx

import (
	"bytes"
	"os"
	"slices"
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

// children lists the child processes of p. One that ends or is born meanwhile may be missing; the others are there.
func (p process) children() []process { return settled(p.childrenOnce) }

// settled reads until two reads in a row agree, some times at most; then the longest of them is what it returns. The kernel
// may leave out a child while others end: one worker too few, and a drain would count as done.
func settled(read func() []process) []process {
	last := read()
	longest := last
	for range 5 {
		now := read()
		if slices.Equal(now, last) {
			return now
		}
		if last = now; len(now) > len(longest) {
			longest = now
		}
	}
	return longest
}

func (p process) childrenOnce() []process {
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

// status holds the lines of /proc/PID/status.
type status []byte

func (p process) status() (status, error) {
	return os.ReadFile("/proc/" + strconv.Itoa(p.PID) + "/status")
}

// fields are the words of the line called name.
func (s status) fields(name string) []string {
	_, rest, _ := bytes.Cut(s, []byte("\n"+name+":"))
	line, _, _ := bytes.Cut(rest, []byte{'\n'})
	return strings.Fields(string(line))
}

// hangup tells whether SIGHUP is in the set of signals called name.
func (s status) hangup(name string) bool {
	words := s.fields(name)
	if len(words) != 1 {
		return false
	}
	set, err := strconv.ParseUint(words[0], 16, 64)
	return err == nil && set&(1<<(unix.SIGHUP-1)) != 0
}

// busy tells whether the master p does anything or is about to, as far as can be seen: it blocks SIGHUP but for the
// moments in which it waits for signals (sigsuspend in ngx_master_process_cycle), and takes one that was sent meanwhile
// right then. The kernel gives both sets of one moment.
func (p process) busy() bool {
	s, err := p.status()
	return err == nil && (s.hangup("SigBlk") || s.hangup("ShdPnd"))
}

// user is the effective user of p. The owner of /proc/PID will not do: a process can have that changed to root.
func (p process) user() (uid int, ok bool) {
	s, err := p.status()
	if err != nil {
		return 0, false
	}
	ids := s.fields("Uid") // real, effective, saved, file system
	if len(ids) < 2 {
		return 0, false
	}
	uid, err = strconv.Atoi(ids[1])
	return uid, err == nil
}

// tick is the unit of a process's start: USER_HZ is 100 on every architecture that Go knows.
const tick = 10 * time.Millisecond

// uptime is the time since boot, on the clock by which the kernel notes when a process starts: nobody sets it.
func uptime() time.Duration {
	var boot unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) // there since Linux 2.6.39
	return time.Duration(boot.Nano())
}
