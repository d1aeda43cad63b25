package lbd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// One lbd works with a state folder at a time, and one writes an output: two that write one file undo each other's work
// for ever. The kernel lets go of these locks however lbd ends.

// lock takes the state folder and the outputs.
func (c *Config) lock() (unlock func(), err error) {
	let, err := lock(c.StateDir)
	if err != nil {
		return nil, err
	}
	outputs, err := lockOutputs(c.Upstreams)
	if err != nil {
		let()
		return nil, err
	}
	return func() { outputs(); let() }, nil
}

// lock takes a state folder.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make state_dir: %w (run lbd as a user that may, or set state_dir)", err)
	}
	name := filepath.Join(dir, "lock")
	f, err := flock(name, os.O_RDWR)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("%s works with state_dir %s: stop it (an lbd for another nginx needs an id, a state_dir and outputs of its own)", holderOf(name), dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	return func() { _ = f.Close() }, nil
}

// lockOutputs takes the files that the upstreams are written to, each by a file beside it, whose name begins with a dot so
// that no include reaches it. Where none can be made no output can be written either, and an apply will say so.
func lockOutputs(upstreams []UpstreamConfig) (unlock func(), err error) {
	var held []*os.File
	unlock = func() {
		for _, f := range held {
			_ = os.Remove(f.Name()) // while it is ours
			_ = f.Close()
		}
	}
	var names []string
	for _, u := range upstreams {
		name := outputLock(u.Output)
		if slices.Contains(names, name) {
			continue // a link to the same file: an apply says so
		}
		names = append(names, name)
		f, err := flock(name, os.O_RDONLY) // an open file for writing would keep its file system from being made read-only
		if errors.Is(err, syscall.EWOULDBLOCK) {
			unlock()
			return nil, fmt.Errorf("%s writes %s, the output of upstream %s: stop it, or give the upstream another output", holderOf(name), u.Output, u.Name)
		}
		if err == nil {
			held = append(held, f)
		}
	}
	return unlock, nil
}

// outputLock is the file beside an output, links followed, that is locked in its stead: a lock on the output itself would go
// with the first rename.
func outputLock(output string) string {
	real, err := filepath.EvalSymlinks(output)
	if err != nil { // it is not there yet
		real = output
		if dir, err := filepath.EvalSymlinks(filepath.Dir(output)); err == nil {
			real = filepath.Join(dir, filepath.Base(output))
		}
	}
	base := filepath.Base(real)
	return filepath.Join(filepath.Dir(real), "."+base[:min(len(base), 200)]+".lbd.lock")
}

// flock opens a file, for reading or for both, and locks it; the error is EWOULDBLOCK when somebody else has.
func flock(name string, how int) (*os.File, error) {
	for {
		f, err := os.OpenFile(name, how|os.O_CREATE|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			_ = f.Close() // the lock was not had
			return nil, err
		}
		is, err1 := f.Stat()
		there, err2 := os.Stat(name)
		if err1 == nil && err2 == nil && os.SameFile(is, there) {
			return f, nil
		}
		_ = f.Close() // who had it has removed it meanwhile
	}
}

// holderOf names who has a lock, for people.
func holderOf(name string) string {
	if pid := flockHolder(name); pid != 0 {
		return fmt.Sprintf("another lbd, process %d,", pid)
	}
	return "another lbd"
}
