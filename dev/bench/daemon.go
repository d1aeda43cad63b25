package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// daemon is a contender's process.
type daemon struct {
	cmd   *exec.Cmd
	log   string // file with all it writes
	ended chan struct{}
	err   error // how it ended; read after ended
}

// startDaemon starts a program in a process group of its own, so that Ctrl-C in a terminal reaches us alone and the
// order of the end is ours.
func startDaemon(dir string, argv ...string) (*daemon, error) {
	d := &daemon{log: filepath.Join(dir, filepath.Base(argv[0])+".log"), ended: make(chan struct{})}
	out, err := os.Create(d.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	d.cmd = exec.Command(argv[0], argv[1:]...)
	d.cmd.Stdout, d.cmd.Stderr = out, out
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(d.ended)
		d.err = d.cmd.Wait()
	}()
	return d, nil
}

// awaitReady waits until ready returns nil; it fails at once when the process ends. The error carries the end of its log.
func (d *daemon) awaitReady(ctx context.Context, ready func() error) error {
	err := await(ctx, func() error {
		if d.alive() {
			return ready()
		}
		return nil
	})
	if err == nil && !d.alive() {
		err = fmt.Errorf("it ended at once: %v", d.err)
	}
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w; its log ends:\n%s", err, d.tail())
	}
	return err
}

func (d *daemon) alive() bool {
	select {
	case <-d.ended:
		return false
	default:
		return true
	}
}

// stop asks the process to end, and kills it when it has not after 5 s. One that never began is no error.
func (d *daemon) stop() error {
	if d == nil || !d.alive() {
		return nil
	}
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-d.ended:
		return nil
	case <-time.After(5 * time.Second):
		err := d.cmd.Process.Kill()
		<-d.ended
		return errors.Join(fmt.Errorf("%s did not end within 5 s of SIGTERM and was killed", d.cmd.Path), err)
	}
}

func (d *daemon) tail() string {
	text, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(string(bytes.TrimSpace(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// footprint is that of the process without its children, and nothing without a process.
func (d *daemon) footprint() (footprint, error) {
	if d == nil {
		return footprint{}, nil
	}
	return usedBy(d.cmd.Process.Pid, false)
}
