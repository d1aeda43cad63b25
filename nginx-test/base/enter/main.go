// Command enter runs a program of a Debian root that lies beside it: started
// as DIR/bin/NAME it becomes NAME of DIR/root, with the same process id and
// arguments and in the same folder. That program sees the root's own /usr,
// /etc, /var and /run, and all other folders of this machine (/tmp, /dev,
// /proc, homes, checkouts) under the paths they have outside. It needs to be
// root, has a mount namespace of its own, and leaves nothing behind.
//
// It must be built with nothing but the standard library (see package base).
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// own are the folders, or links to them, that are the root's and not this machine's.
var own = []string{"bin", "boot", "etc", "lib", "lib32", "lib64", "libx32", "lost+found", "run", "sbin", "usr", "var"}

// init keeps main on the first thread: the signal that this process gets at
// its parent's death, and its mount namespace, are a thread's.
func init() { runtime.LockOSThread() }

func main() {
	self, err := os.Executable()
	if err == nil {
		err = enter(filepath.Join(filepath.Dir(filepath.Dir(self)), "root"), filepath.Base(self))
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
	os.Exit(127)
}

// enter becomes that program of the root. It returns only when it can't.
func enter(root, name string) error {
	program, err := find(root, name)
	if err != nil {
		return err
	}
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w (one has to be root)", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("make mounts our own: %w", err)
	}
	view, err := assemble(root)
	if err != nil {
		return err
	}
	if err := pivot(view); err != nil {
		return fmt.Errorf("enter %s: %w", view, err)
	}
	if err := os.Chdir(here); err != nil {
		return fmt.Errorf("the folder one is in can't be seen in %s: %w", root, err)
	}
	return fmt.Errorf("run %s of %s: %w", program, root, syscall.Exec(program, append([]string{program}, os.Args[1:]...), os.Environ()))
}

// find is the program's path in the root.
func find(root, name string) (string, error) {
	for _, dir := range []string{"/usr/sbin/", "/usr/bin/"} {
		if _, err := os.Stat(root + dir + name); err == nil {
			return dir + name, nil
		}
	}
	return "", fmt.Errorf("there is no %s in %s", name, root)
}

// assemble puts together what the program sees as /, in a file system that
// only this process has, and returns its folder.
func assemble(root string) (view string, err error) {
	view = filepath.Join(filepath.Dir(root), "view")
	if err := os.MkdirAll(view, 0o755); err != nil {
		return "", err
	}
	if err := syscall.Mount("view", view, "tmpfs", 0, "mode=755"); err != nil {
		return "", fmt.Errorf("mount a file system on %s: %w", view, err)
	}
	// Else a folder of this machine that holds it would be shown with all of it once more inside.
	if err := syscall.Mount("", view, "", syscall.MS_UNBINDABLE, ""); err != nil {
		return "", err
	}
	if err := show(root, view, func(name string) bool { return slices.Contains(own, name) }); err != nil {
		return "", err
	}
	if err := show("/", view, func(name string) bool { return !slices.Contains(own, name) }); err != nil {
		return "", err
	}
	temps := []string{"/var/tmp"}
	if dir, err := filepath.Abs(os.TempDir()); err == nil && slices.Contains(own, strings.SplitN(dir, "/", 3)[1]) {
		temps = append(temps, dir)
	}
	for _, dir := range temps {
		if err := bind(dir, view+dir); err != nil {
			return "", err
		}
	}
	return view, nil
}

// show puts the chosen folders of a root into view, symbolic links too.
func show(root, view string, chosen func(name string) bool) error {
	entries, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		from, to := filepath.Join(root, e.Name()), filepath.Join(view, e.Name())
		switch {
		case !chosen(e.Name()):
		case e.IsDir():
			err = bind(from, to)
		case e.Type() == os.ModeSymlink:
			var target string
			if target, err = os.Readlink(from); err == nil {
				err = os.Symlink(target, to)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func bind(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount(from, to, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("show %s: %w", from, err)
	}
	return nil
}

// pivot makes view the root of the mount namespace and lets go of the former.
// With chroot alone, /proc would tell others paths that begin with view.
func pivot(view string) error {
	if err := os.Chdir(view); err != nil {
		return err
	}
	if err := syscall.PivotRoot(".", "."); err != nil { // the former root is now above the new one, see pivot_root(2)
		return err
	}
	return syscall.Unmount(".", syscall.MNT_DETACH)
}
