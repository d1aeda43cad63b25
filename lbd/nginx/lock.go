package nginx

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bazbeans/bazbeans/step"
)

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
func (n *Nginx) sweep(s setup, outs []*output) {
	if !n.swept[n.opt.Proof] {
		n.listener.clearAll()
		n.swept[n.opt.Proof] = true
	}
	n.sweepDir(n.opt.StateDir, shadowMark)
	conf := s.conf
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
