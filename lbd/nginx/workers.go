package nginx

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/bazbeans/bazbeans/ngxconf"
)

// crew returns the workers of m that take connections, and those that only finish their requests, or belong to the
// master that a binary upgrade is about to replace.
func (m process) crew() (working, draining []process) {
	for _, child := range m.children() {
		switch title := child.title(); {
		case isDraining(title):
			draining = append(draining, child)
		case isWorking(title):
			working = append(working, child)
		}
	}
	return working, append(draining, m.upgradedFrom()...)
}

// users are the effective users of processes that have not ended; nil when one of them can't be told.
func users(list []process) (uids []int) {
	for _, p := range list {
		uid, ok := p.user()
		switch {
		case ok && !slices.Contains(uids, uid):
			uids = append(uids, uid)
		case !ok && p.alive():
			return nil
		}
	}
	return uids
}

// upgradedFrom lists the workers of m's parent when that is a master, too: after a USR2 both take connections until
// the old one is told to quit, and its workers serve a configuration that is none of ours.
func (m process) upgradedFrom() (workers []process) {
	_, parent, ok := stat(m.PID)
	if !ok {
		return nil
	}
	former, _, ok := stat(parent)
	if !ok || !strings.HasPrefix(former.title(), masterTitle) {
		return nil
	}
	for _, child := range former.children() {
		if title := child.title(); isWorking(title) || isDraining(title) {
			workers = append(workers, child)
		}
	}
	return workers
}

// workers is the number of workers that the configuration asks for: 0 when it cannot be told.
type workers struct {
	number int
	auto   bool
}

func (w workers) String() string {
	switch {
	case w.auto:
		return fmt.Sprintf("auto (%d)", w.number)
	case w.number == 0:
		return "an unknown number of"
	}
	return strconv.Itoa(w.number)
}

// met tells whether there are enough. What "auto" means depends on the C library (all processors, or those that
// the process may use), so the former number will do as well.
func (w workers) met(have, former int) bool {
	if have == w.number {
		return true
	}
	return (w.auto || w.number == 0) && (former == 0 || have == former)
}

func (n *Nginx) workers(s setup, t *tree) workers {
	w := workers{number: 1} // Nginx's default
	set := func(st *ngxconf.Statement) {
		if st.Name() != "worker_processes" || len(st.Words) != 2 {
			return
		}
		if st.Words[1].Text == "auto" {
			w = workers{number: onlineCPUs(), auto: true}
			return
		}
		number, err := strconv.Atoi(st.Words[1].Text)
		if err != nil {
			number = 0
		}
		w = workers{number: number}
	}
	s.globally(set)
	t.mainly(set)
	return w
}

// onlineCPUs is sysconf(_SC_NPROCESSORS_ONLN): unlike [runtime.NumCPU] not only those that this process may use.
func onlineCPUs() int {
	text, _ := os.ReadFile("/sys/devices/system/cpu/online") // "0-3,6"
	count := 0
	for part := range strings.SplitSeq(strings.TrimSpace(string(text)), ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		a, err1 := strconv.Atoi(first)
		z, err2 := strconv.Atoi(last)
		if err1 != nil || err2 != nil {
			return runtime.NumCPU()
		}
		count += z - a + 1
	}
	return count
}
