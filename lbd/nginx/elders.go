package nginx

import (
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// elders returns the workers of masters that were there before m and have not ended: who tells Nginx to quit and starts it
// anew does not wait until the last request is over, and a master that is killed leaves its workers behind.
func (n *Nginx) elders(m process) (workers []process) {
	n.seenMu.Lock()
	defer n.seenMu.Unlock()
	n.remember(m)
	n.masters = slices.DeleteFunc(n.masters, func(p process) bool {
		if p == m {
			return false
		}
		crew := p.left()
		workers = append(workers, crew...)
		return len(crew) == 0 && !p.alive()
	})
	return workers
}

// formerMasters are those other than m that may have left workers.
func (n *Nginx) formerMasters(m process) []process {
	n.seenMu.Lock()
	defer n.seenMu.Unlock()
	n.remember(m)
	return slices.DeleteFunc(slices.Clone(n.masters), func(p process) bool { return p == m })
}

// remember adds m to the masters that were seen; the last proof knows those that an lbd before this one has seen. seenMu is
// held.
func (n *Nginx) remember(m process) {
	if n.masters == nil {
		n.masters = []process{}
		if last := n.lastProof(); last.Boot == bootID() {
			n.masters = append(n.masters, last.Former...)
			n.masters = append(n.masters, last.Master)
		}
		n.masters = slices.DeleteFunc(n.masters, func(p process) bool { return p == process{} })
	}
	if m != (process{}) && !slices.Contains(n.masters, m) {
		n.masters = append(n.masters, m)
	}
}

// left lists the workers of the master p, alive or killed.
func (p process) left() []process {
	workers := slices.DeleteFunc(p.children(), func(child process) bool { return !strings.HasPrefix(child.title(), workerTitle) })
	if p.alive() {
		return workers
	}
	return p.orphans()
}

// orphans lists the workers that the master p has left behind, if it led a session (a daemon, or a service of systemd's) or
// a process group (supervisord): they are still of that, and until the last has ended no other process gets its number.
func (p process) orphans() (workers []process) {
	names, _ := readNames("/proc")
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		session, err1 := unix.Getsid(pid)
		group, err2 := unix.Getpgid(pid)
		if err1 != nil || err2 != nil || session != p.PID && group != p.PID {
			continue
		}
		worker, parent, ok := stat(pid)
		if !ok || !strings.HasPrefix(worker.title(), workerTitle) {
			continue
		}
		if !isMaster(parent) { // or it is of a binary upgrade that p began, or of who has p's number now
			workers = append(workers, worker)
		}
	}
	return workers
}

// isMaster reports whether a process is a master of Nginx's, as far as its title tells.
func isMaster(pid int) bool {
	p, _, ok := stat(pid)
	return ok && strings.HasPrefix(p.title(), masterTitle)
}
