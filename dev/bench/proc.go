package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tree is a process and its children.
func tree(pid int) ([]int, error) {
	name := strconv.Itoa(pid)
	text, err := os.ReadFile("/proc/" + name + "/task/" + name + "/children")
	if err != nil {
		return nil, fmt.Errorf("list children of process %d: %w", pid, err)
	}
	pids := []int{pid}
	for _, word := range strings.Fields(string(text)) {
		child, err := strconv.Atoi(word)
		if err != nil {
			return nil, fmt.Errorf("list children of process %d: %w", pid, err)
		}
		pids = append(pids, child)
	}
	return pids, nil
}

// footprint is what processes have used so far.
type footprint struct {
	cpu time.Duration
	rss uint64 // bytes in memory now
}

// tick is the unit of times in /proc/PID/stat: 1/100 s on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// usedBy looks at one process; heirs adds the processor time of its children that have ended.
func usedBy(pid int, heirs bool) (footprint, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return footprint{}, fmt.Errorf("look at process %d: %w", pid, err)
	}
	// "pid (name) state …", where the name may hold spaces; proc_pid_stat(5) counts from 1, and state is its third.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	const utime, rss = 14 - 3, 24 - 3
	if len(fields) <= rss {
		return footprint{}, fmt.Errorf("look at process %d: %q", pid, text)
	}
	var u footprint
	times := fields[utime : utime+2]
	if heirs {
		times = fields[utime : utime+4]
	}
	for _, field := range times {
		ticks, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return footprint{}, fmt.Errorf("look at process %d: %w", pid, err)
		}
		u.cpu += time.Duration(ticks) * tick
	}
	pages, err := strconv.ParseUint(string(fields[rss]), 10, 64)
	if err != nil {
		return footprint{}, fmt.Errorf("look at process %d: %w", pid, err)
	}
	u.rss = pages * uint64(os.Getpagesize())
	return u, nil
}
