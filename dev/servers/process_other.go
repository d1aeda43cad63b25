//go:build !linux

package servers

import "syscall"

// attributes: no other system of ours tells a child of its parent's death.
func attributes(syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

func groupRuns(group int) bool { return syscall.Kill(-group, 0) == nil }
