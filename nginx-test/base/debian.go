package base

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Debian returns the root folder of a Debian of that suite: its minimal base
// with these packages. It is made when it is not there yet, which takes a
// minute and needs root, and kept for all users of the cache: who writes in it
// does so on a layer above. A suite that goes on (sid) stays as it was that day.
func Debian(ctx context.Context, suite string, packages ...string) (dir string, err error) {
	cache, err := Cache()
	if err != nil {
		return "", fmt.Errorf("make debian %s: %w", suite, err)
	}
	sum := sha256.Sum256([]byte(strings.Join(packages, ",")))
	home := filepath.Join(cache, suite+"-"+hex.EncodeToString(sum[:4]))
	dir = filepath.Join(home, "root")
	if present(dir) {
		return dir, nil
	}
	lock, err := acquire(ctx, home+".lock")
	if err != nil {
		return "", fmt.Errorf("make debian %s: %w", suite, err)
	}
	defer lock.Close()
	if present(dir) {
		return dir, nil // another process has made it meanwhile
	}
	if err := bootstrap(ctx, lock, suite, home, packages); err != nil {
		return "", fmt.Errorf("make debian %s: %w", suite, err)
	}
	return dir, nil
}

// Cache is the folder that all of this is kept in.
func Cache() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "bazbeans", "base")
	return cache, os.MkdirAll(cache, 0o755)
}

// bootstrap makes home with the folder root in it, whole or not at all.
func bootstrap(ctx context.Context, lock *os.File, suite, home string, packages []string) (err error) {
	making := home + ".making"
	if err := os.RemoveAll(making); err != nil { // left behind by a process that was killed
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(making)) }()
	root := filepath.Join(making, "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "debootstrap", "--variant=minbase", "--include="+strings.Join(packages, ","), suite, root)
	// What it mounts is seen by itself alone, so nobody ever removes this machine's /dev with what is half made. It holds
	// the lock, too: when we are killed, the next one waits until the last of its children has ended.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Setpgid: true}
	cmd.ExtraFiles = []*os.File{lock}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	if out, err := cmd.CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w: run `tools/deps roots`", err)
	} else if err != nil {
		return fmt.Errorf("debootstrap: %w; it needs root and Debian's package server; its last words:\n%s", err, tail(out))
	}
	for _, dir := range []string{"var/cache/apt", "var/lib/apt/lists"} {
		if err := os.RemoveAll(filepath.Join(root, dir)); err != nil {
			return err
		}
	}
	// debootstrap writes none, and a container's engine or a tester may bring another.
	hosts := filepath.Join(root, "etc/hosts")
	if !present(hosts) {
		if err := os.WriteFile(hosts, []byte("127.0.0.1 localhost\n::1 localhost\n"), 0o644); err != nil {
			return err
		}
	}
	// Whatever our umask: the daemons in it are other users.
	if err := errors.Join(os.Chmod(root, 0o755), os.Chmod(hosts, 0o644)); err != nil {
		return err
	}
	return os.Rename(making, home)
}

// acquire locks a file; closing it unlocks.
func acquire(ctx context.Context, path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			file.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, fmt.Errorf("wait for the process that holds %s: %w", path, context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// tail is the end of what a program said.
func tail(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
