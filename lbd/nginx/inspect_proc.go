package nginx

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Master is a running Nginx master.
type Master struct {
	PID      int
	UID      int    // -1: unknown
	Conf     string // its main configuration file; "": unknown
	Global   string // its -g
	Replaced bool   // the binary that it runs is no longer on disk: an upgrade without a restart
	Label    string // what confines it, such as an AppArmor profile; "": nothing that can be seen
	Workers  int
	Draining int           // old workers, also those of masters before it
	Orphans  []int         // of these: whose master was killed, so that nobody tells them to end
	Oldest   time.Duration // age of the oldest draining worker
	Memory   int64         // bytes resident in draining workers; pages that they share count for each
	NoFile   int           // how many files a worker may open; 0: unknown
}

// inspectProcesses looks for masters, and for the one that is ours.
func (n *Nginx) inspectProcesses(b build, in *Inspection) {
	in.PIDFile.Path = n.opt.PID
	if info, err := os.Stat(n.opt.PID); err == nil && info.Size() == 0 {
		in.PIDFile.Empty = true
	}
	ours, _, why := n.master(b)
	if a := new(absence); errors.As(why, &a) {
		in.Why = a.why
	} else if why != nil {
		in.Why = why.Error()
	}
	names, _ := readNames("/proc") // without it there is nothing to see
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		p, _, ok := stat(pid)
		if !ok || !strings.HasPrefix(p.title(), masterTitle) {
			continue
		}
		m := p.inspect(b)
		if why == nil && p == ours {
			for _, w := range n.elders(p) {
				m.drains(w)
			}
			in.Master = &m
		}
		in.Masters = append(in.Masters, m)
	}
}

func (p process) inspect(b build) Master {
	proc := "/proc/" + strconv.Itoa(p.PID)
	m := Master{PID: p.PID, UID: -1, NoFile: noFile(proc)}
	if uid, ok := p.user(); ok {
		m.UID = uid
	}
	if run, err := argsOf(p, b, p.title()); err == nil {
		m.Conf, m.Global = run.Conf, run.Global
	}
	if exe, err := os.Readlink(proc + "/exe"); err == nil {
		m.Replaced = strings.HasSuffix(exe, " (deleted)")
	}
	if label, err := os.ReadFile(proc + "/attr/current"); err == nil {
		m.Label = string(bytes.TrimRight(label, "\x00\n"))
	}
	for _, child := range p.children() {
		switch title := child.title(); {
		case isWorking(title):
			m.Workers++
			m.NoFile = noFile("/proc/" + strconv.Itoa(child.PID)) // worker_rlimit_nofile is a worker's alone
		case isDraining(title):
			m.drains(child)
		}
	}
	return m
}

// drains notes a worker that is no longer one of the master's, or never was.
func (m *Master) drains(worker process) {
	m.Draining++
	m.Memory += resident(worker.PID)
	m.Oldest = max(m.Oldest, uptime()-time.Duration(worker.Start)*tick)
	if _, parent, ok := stat(worker.PID); ok && !isMaster(parent) {
		m.Orphans = append(m.Orphans, worker.PID)
	}
}

// noFile is the soft limit of open files of a process, 0 when it can't be seen.
func noFile(proc string) int {
	text, _ := os.ReadFile(proc + "/limits")
	_, rest, _ := strings.Cut(string(text), "Max open files")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(fields[0]) // "unlimited" is no limit to compare with
	return n
}

func resident(pid int) int64 {
	text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// mountPoint tells whether something is mounted on path itself, such as a single file bound into a container.
func mountPoint(path string) bool {
	text, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 4 && unoctal.Replace(fields[4]) == path {
			return true
		}
	}
	return false
}

// unoctal undoes the escapes of /proc/self/mountinfo.
var unoctal = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// writable says why this process could not make and rename files in dir; nothing is tried.
func writable(dir string) error {
	if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return &os.PathError{Op: "write in", Path: dir, Err: err}
	}
	return nil
}
