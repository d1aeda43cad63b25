package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// child makes a command that runs without a shell, in a process group of its own, and with no environment but PATH:
// the agent's may hold secrets. When ctx ends the group is killed whole. Run it with runGroup.
func child(ctx context.Context, path []string, argv []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=" + strings.Join(path, string(filepath.ListSeparator))}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }
	cmd.WaitDelay = time.Second // for who left the group and holds the output open
	return cmd
}

// runGroup is cmd.Run for a child: what its leader leaves running is killed when it ends.
func runGroup(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	// Before it is reaped, while no other group can have this id.
	for {
		if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != unix.EINTR {
			break
		}
	}
	_ = killGroup(cmd.Process.Pid) // ESRCH, mostly: nothing was left
	return cmd.Wait()
}

func killGroup(pid int) error {
	err := syscall.Kill(-pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// findProgram returns the file that name stands for: itself if it is absolute, else the first in path.
func findProgram(name string, path []string) (string, error) {
	switch {
	case filepath.IsAbs(name):
		return name, executable(name)
	case name == "" || strings.ContainsRune(name, filepath.Separator):
		return "", fmt.Errorf("program %q is neither a name nor an absolute path", name)
	}
	for _, dir := range path {
		if file := filepath.Join(dir, name); executable(file) == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("no program %s in %s", name, strings.Join(path, ":"))
}

func executable(file string) error {
	info, err := os.Stat(file)
	if err == nil && (info.IsDir() || info.Mode()&0o111 == 0) {
		err = fmt.Errorf("%s: %w", file, fs.ErrPermission)
	}
	return err
}
