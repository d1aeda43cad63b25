package nginx

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/bazbeans/bazbeans/step"
)

// install puts the staged files in place, one rename each, and keeps what was there until commit or restore. On an
// error everything is as before.
func (n *Nginx) install(changed []*output) error {
	var done []*output
	for _, o := range changed {
		if err := n.replace(o); err != nil {
			err = errors.Join(err, restore(done))
			return step.Errorf(step.Install, wayOut(err, o.real), "install %s: %w", o.real, err)
		}
		done = append(done, o)
	}
	return nil
}

func (n *Nginx) replace(o *output) error {
	if o.synced != nil {
		err := <-o.synced
		o.synced = nil
		if err != nil {
			return err
		}
	}
	if err := n.keepOriginal(o); err != nil {
		return fmt.Errorf("keep the original: %w", err)
	}
	if o.exists {
		backup := dotName(o.real)
		if err := os.Link(o.real, backup); err != nil { // no hard links here, or not for us
			if err := copyFile(o, o.live, backup); err != nil {
				return fmt.Errorf("keep the former file: %w", err)
			}
		}
		o.backup = backup
	}
	if o.Remove {
		return os.Remove(o.real)
	}
	if err := os.Rename(o.staged, o.real); err != nil {
		return nameless(err)
	}
	o.staged = ""
	return nil
}

// restore undoes install: outputs that differed, and did not stay as they were. It needs no room on the disk.
func restore(outs []*output) error {
	var errs []error
	for i := len(outs) - 1; i >= 0; i-- {
		o := outs[i]
		var err error
		switch {
		case o.backup != "":
			if err = os.Rename(o.backup, o.real); errors.Is(err, fs.ErrNotExist) {
				err = copyFile(o, o.live, o.real) // somebody cleaned up; its content is at hand
			}
			if err == nil {
				o.backup = ""
			}
		case !o.exists && !o.Remove:
			if err = os.Remove(o.real); errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("put back %s: %w", o.real, err))
		}
	}
	return errors.Join(append(errs, syncDirs(outs))...)
}

// syncDirs makes the renames last.
func syncDirs(outs []*output) error {
	var errs []error
	seen := map[string]bool{}
	for _, o := range outs {
		dir := filepath.Dir(o.real)
		if seen[dir] {
			continue
		}
		seen[dir] = true
		d, err := os.Open(dir)
		if err == nil {
			err = errors.Join(d.Sync(), d.Close())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("sync folder %s: %w", dir, err))
		}
	}
	return errors.Join(errs...)
}

// copyFile writes data to name, which is o or beside it, as a file like o.
func copyFile(o *output, data []byte, name string) error {
	c := &output{File: File{Data: data}, real: o.real, mode: o.mode, uid: o.uid, gid: o.gid}
	if err := c.stage(); err != nil {
		discard([]*output{c})
		return err
	}
	if err := <-c.synced; err != nil {
		return err
	}
	return nameless(os.Rename(c.staged, name))
}

// keepOriginal keeps a file that lbd did not write, once, below StateDir. Where there was none, an empty file whose
// name ends in ".none" says so: what is there later is ours.
func (n *Nginx) keepOriginal(o *output) error {
	dir := filepath.Join(n.opt.StateDir, "originals")
	kept := filepath.Join(dir, url.PathEscape(o.real))
	none := kept + ".none"
	for _, name := range []string{kept, none} {
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if !o.exists {
		return writeSynced(none, nil)
	}
	if err := writeSynced(kept, o.live); err != nil {
		return err
	}
	n.log.Info("took over a file", "step", step.Install, "file", o.real, "original", kept)
	return nil
}

// writeSynced writes a file that is there whole or not at all, whatever happens.
func writeSynced(name string, data []byte) error {
	temp := name + ".new"
	_ = os.Remove(temp) // of a killed lbd
	if err := writeNew(temp, data); err != nil {
		return err
	}
	f, err := os.Open(temp)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(temp, name)
}
