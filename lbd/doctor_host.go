package lbd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/kballard/go-shellquote"
	"golang.org/x/sys/unix"
)

// userName is for people, and for a chown.
func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}

func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// checkUser asks whether this user may do what lbd must. lbd's own user counts, so the doctor is to be run as that one.
func (d *doctor) checkUser(context.Context) {
	who := userName(d.uid)
	if d.site == nil || d.site.Master == nil {
		d.add(finding{Code: "signal", Level: levelNote, What: "lbd's doctor runs as " + who, Means: "Run it as the user that lbd runs as: what that one may do is what counts."})
		return
	}
	m := d.site.Master
	switch err := unix.Kill(m.PID, 0); {
	case err == nil:
		d.ok("signal", "%s may signal master %d", who, m.PID)
	case d.l.cfg.Nginx.Reload != nil:
		d.add(finding{Code: "signal", Level: levelNote, What: fmt.Sprintf("%s may not signal master %d (%v)", who, m.PID, err),
			Means: "lbd reloads by a command, so it need not."})
	default:
		d.add(finding{Code: "signal", Level: levelProblem, What: fmt.Sprintf("%s may not signal master %d (%v)", who, m.PID, err),
			Means: "lbd reloads Nginx by a signal: run it as root or as the master's user, or give it a command that may.",
			Where: inConfig, Fix: "nginx:\n  reload: [sudo, -n, systemctl, reload, nginx]"})
	}
}

// Types of file systems that a reboot empties, from statfs(2).
const (
	tmpfs = 0x01021994
	ramfs = 0x858458f6
)

func (d *doctor) checkStateDir(context.Context) {
	dir := d.l.cfg.StateDir
	for {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || dir == "/" {
			break
		}
		dir = filepath.Dir(dir) // lbd makes it: then what matters is the folder that there is
	}
	err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	if err != nil {
		f := finding{Code: "state-dir", Level: levelProblem, What: fmt.Sprintf("%s may not write in %s: %v", userName(d.uid), dir, err),
			Means: "lbd does not start: it keeps there what it served, what it replaced, and copies for the test."}
		f.Where, f.Fix = d.opening(err, dir)
		if errors.Is(err, fs.ErrPermission) {
			f.Fix = fmt.Sprintf("install -d -m 0700 -o %s %s", userName(d.uid), shellquote.Join(d.l.cfg.StateDir))
		}
		d.add(f)
		return
	}
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) == nil && (st.Type == tmpfs || st.Type == ramfs) {
		d.add(finding{Code: "state-volatile", Level: levelWarning, What: d.l.cfg.StateDir + " is in memory",
			Means: "After a reboot lbd knows no former set: with Redis down or empty at that moment there is none to keep.",
			Where: inConfig, Fix: "state_dir: /var/lib/lbd"})
	}
	d.ok("state-dir", "%s can be written", d.l.cfg.StateDir)
	d.checkSpace("state-space", dir)
}

// checkConfinement says what beside users and modes decides about files.
func (d *doctor) checkConfinement(context.Context) {
	if text, err := os.ReadFile("/sys/fs/selinux/enforce"); err == nil && strings.TrimSpace(string(text)) == "1" {
		dir := filepath.Dir(d.l.upstreams[0].Output)
		d.add(finding{Code: "confined", Level: levelNote, What: "SELinux enforces its policy",
			Means: "Files that lbd makes need the label of their folder, and Nginx the right to connect to nodes.",
			Where: inShell, Fix: "restorecon -Rv " + shellquote.Join(dir) + "\nsetsebool -P httpd_can_network_connect 1"})
	}
	if d.site == nil || d.site.Master == nil {
		return
	}
	if label := d.site.Master.Label; strings.HasSuffix(label, " (enforce)") { // as AppArmor writes it
		d.add(finding{Code: "confined", Level: levelNote, What: "AppArmor confines Nginx: " + label,
			Means: "Its profile must let it read the folders of lbd's outputs and, for the test, the state_dir."})
	}
}
