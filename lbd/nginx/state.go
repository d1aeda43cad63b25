package nginx

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bazbeans/bazbeans/step"
)

// State is what Nginx's processes look like now.
type State struct {
	Master   int    // process id of the master; 0: Nginx is not running
	Why      string // why it counts as not running
	Workers  int    // draining ones not counted
	Draining int    // workers of former configurations that still finish their requests
}

// State looks at the processes, and at nothing else. It does not wait for an Apply.
func (n *Nginx) State(ctx context.Context) (State, error) {
	b, err := n.build(ctx)
	if err != nil {
		return State{}, err
	}
	m, err := n.master(b)
	if a := new(absence); errors.As(err, &a) {
		return State{Why: a.why}, nil
	}
	if err != nil {
		return State{}, err
	}
	workers, draining := m.crew()
	return State{Master: m.PID, Workers: len(workers), Draining: draining}, nil
}

// lock makes sure that no other Test or Apply works with the same StateDir, in this process or in another.
func (n *Nginx) lock(ctx context.Context) (unlock func(), err error) {
	n.mu.Lock()
	file, err := n.lockFile(ctx)
	if err != nil {
		n.mu.Unlock()
		return nil, step.Errorf(step.Install, wayOut(err, n.opt.StateDir), "lock the state folder: %w", err)
	}
	return func() {
		n.tidy.Wait()
		file.Close() // and with it goes the lock
		n.mu.Unlock()
	}, nil
}

func (n *Nginx) lockFile(ctx context.Context) (*os.File, error) {
	if err := os.MkdirAll(n.opt.StateDir, 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(n.opt.StateDir, "nginx.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return file, nil
		}
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = wait(ctx, 10*time.Millisecond)
		}
		if err != nil && !errors.Is(err, syscall.EINTR) {
			file.Close()
			return nil, err
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// sweep removes what a killed lbd left behind. The lock is held, so nobody works with such files now.
func (n *Nginx) sweep(b build, outs []*output) {
	n.sweepDir(n.opt.StateDir, shadowMark)
	conf := n.conf(b)
	n.sweepDir(filepath.Dir(conf), dotPrefix(conf))
	for _, o := range outs {
		n.sweepDir(filepath.Dir(o.real), dotPrefix(o.real))
	}
}

func (n *Nginx) sweepDir(dir, prefix string) {
	if n.swept[dir+"/"+prefix] {
		return
	}
	names, err := readNames(dir)
	if err != nil {
		return // whoever needs the folder will say so
	}
	n.swept[dir+"/"+prefix] = true
	for _, name := range names {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			n.log.Warn("cannot remove a left-over", "file", filepath.Join(dir, name), "err", err)
		}
	}
}

// proof says which files a master was seen to serve. It is kept in StateDir, so that a new lbd need not reload to
// know. It needs no care when files change: a changed file has another ID.
type proof struct {
	Boot   string // a process's start counts from here
	Master process
	Files  map[string]fileID // by resolved path; zero: the file is not there
}

func (n *Nginx) proofFile() string { return filepath.Join(n.opt.StateDir, "nginx.proof.json") }

func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // "" then, and so it will be at the next look
	return strings.TrimSpace(string(id))
}

// proven tells whether m serves the files on disk: it was seen to, or all its workers are younger than the files.
func (n *Nginx) proven(m process, outs []*output) bool {
	if n.proof == nil {
		n.proof = &proof{}
		if text, err := os.ReadFile(n.proofFile()); err == nil && json.Unmarshal(text, n.proof) != nil {
			n.proof = &proof{} // torn by a crash: no proof
		}
	}
	if n.proof.Boot == bootID() && n.proof.Master == m {
		same := true
		for _, o := range outs {
			id, ok := n.proof.Files[o.real]
			same = same && ok && id == o.id
		}
		if same {
			return true
		}
	}
	return younger(m, outs)
}

// younger tells whether all workers of m began after the files came to be what they are. In doubt they did not: a
// process's start is known to 10 ms, a file's time to a tick of the kernel, and a removed file has no time.
func younger(m process, outs []*output) bool {
	const doubt = 20 * time.Millisecond
	workers, _ := m.crew()
	for _, w := range workers {
		start, err := w.started()
		if err != nil {
			return false
		}
		for _, o := range outs {
			if !o.exists || start.Before(o.id.changed().Add(doubt)) {
				return false
			}
		}
	}
	return len(workers) > 0
}

// identify returns the IDs of what is on disk now, by resolved path. It is asked before a reload: what is there
// later may not be what was read.
func identify(outs []*output) map[string]fileID {
	ids := map[string]fileID{}
	for _, o := range outs {
		ids[o.real] = fileID{}
		if info, err := os.Stat(o.real); err == nil {
			ids[o.real] = idOf(info)
		}
	}
	return ids
}

// record keeps that m serves files.
func (n *Nginx) record(m process, files map[string]fileID) {
	n.proof = &proof{Boot: bootID(), Master: m, Files: files}
	text, err := json.Marshal(n.proof)
	if err == nil {
		temp := n.proofFile() + ".new"
		if err = os.WriteFile(temp, text, 0o600); err == nil {
			err = os.Rename(temp, n.proofFile())
		}
	}
	if err != nil { // no harm but one reload more after lbd's next start
		n.log.Warn("cannot keep the proof", "step", step.Verify, "err", err)
	}
}
