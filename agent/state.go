package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/trust"
)

// DefaultStateDir is where an agent keeps what it must remember, if it can write there.
const DefaultStateDir = "/var/lib/bbagent"

// state is what outlives a run of the agent, in a folder of its own below state_dir, since several nodes may share a
// machine. Without a folder it remembers for this run only.
type state struct {
	dir     string // "": none
	lock    *os.File
	journal *journal
	own     *trust.OpenKey // nil: none
	since   time.Time      // signed commands issued before are refused: one of them may have been run already
	began   time.Time      // when the folder was prepared
}

// prepareState makes the folder and reads the node's seal key, which is told when it registers. The journal comes later:
// an older agent may still write it. A default folder that can't be written is a warning, another an error.
func (a *Agent) prepareState() error {
	s := &a.state
	s.journal, s.began = newJournal(), time.Now()
	if a.cfg.StateDir == "" {
		s.since = s.began
		return nil
	}
	dir := filepath.Join(a.cfg.StateDir, a.cfg.NodeID)
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		s.own, err = trust.OwnKey(filepath.Join(dir, "seal.key"))
	}
	if err == nil {
		s.dir = dir
		return nil
	}
	if a.cfg.StateDir != DefaultStateDir {
		return &cli.Error{Code: cli.Usage, Err: fmt.Errorf("state_dir: %w", err)}
	}
	s.since = s.began
	a.log.Warn("no folder to remember commands in: one that runs when this agent is killed is known only to Redis, and nothing can be sealed for this node; set --state-dir",
		"state_dir", a.cfg.StateDir, "error", err)
	return nil
}

// lockEvery is how often a journal that another agent holds is tried for.
const lockEvery = 200 * time.Millisecond

// openState waits until no other agent writes the journal, and opens it. After an error other than ctx's, what can't be
// read is remembered for this run only, and where it can't be written no command begins until it can.
func (a *Agent) openState(ctx context.Context) error {
	s := &a.state
	if s.dir == "" {
		return nil
	}
	lock, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	now := s.began // not later: who sees the node active may send at once
	for told := false; err == nil; now = time.Now() {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			break
		}
		if err = nil; !told {
			a.log.Info("another agent of this node still runs: commands wait for its end", "state_dir", s.dir)
			told = true
		}
		select {
		case <-ctx.Done():
			lock.Close()
			return ctx.Err()
		case <-time.After(lockEvery):
		}
	}
	path := filepath.Join(s.dir, "journal")
	var j *journal
	if err == nil {
		s.lock = lock
		s.removeLeft()
		j, err = openJournal(path, now)
	}
	if j == nil {
		s.since = time.Now()
		return fmt.Errorf("commands are remembered for this run only: %w", err)
	}
	s.journal, s.since = j, j.since
	if j.damaged > 0 {
		a.log.Warn("the journal was damaged: signed commands issued before now are refused, since they may have been run", "file", path, "lines", j.damaged)
	}
	if err != nil {
		return fmt.Errorf("commands that must be remembered are refused until they can be: %w", err)
	}
	return nil
}

func (s *state) close() error {
	err := s.journal.close()
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}

// folder is a folder that a setting names; "" is none.
type folder string

func (f folder) check() error {
	if f == "" {
		return nil
	}
	if !filepath.IsAbs(string(f)) {
		return fmt.Errorf("%q is not an absolute path", string(f))
	}
	info, err := os.Stat(string(f))
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "open", Path: string(f), Err: syscall.ENOTDIR}
	}
	return err
}
