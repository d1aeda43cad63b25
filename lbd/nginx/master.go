package nginx

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bazbeans/bazbeans/ngxconf"
)

// absence says why there is no master to speak of. It is no failure: Nginx is not running.
type absence struct{ why string }

func (a *absence) Error() string { return "nginx is not running: " + a.why }

func absent(format string, args ...any) error { return &absence{fmt.Sprintf(format, args...)} }

// master returns the master process of this configuration, or an *absence. A pid file alone proves nothing: it
// may be empty, stale, or name a stranger. What the title says is believed only of a process that has passed all that
// is asked here, for a test runs with it.
func (n *Nginx) master(b build) (process, args, error) {
	none := func(format string, a ...any) (process, args, error) { return process{}, args{}, absent(format, a...) }
	pid, err := n.pid()
	if err != nil {
		return process{}, args{}, err
	}
	p, _, ok := stat(pid)
	if !ok {
		return none("process %d of pid file %s has ended", pid, n.opt.PID)
	}
	title := p.title()
	if !strings.HasPrefix(title, masterTitle) {
		return none("process %d of pid file %s is no nginx master", pid, n.opt.PID)
	}
	// Who may not look at the executable may not send a signal either; the title must do then.
	if exe, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe"); err == nil {
		exe = strings.TrimSuffix(exe, " (deleted)") // upgraded on disk
		// The binary that was named may be a script that runs the real one.
		if base := filepath.Base(exe); exe != b.path && base != filepath.Base(b.path) && base != "nginx" {
			return none("process %d of pid file %s runs %s, not %s", pid, n.opt.PID, exe, b.path)
		}
	}
	if owner, err := fileOwner(n.opt.PID); err == nil {
		if uid, ok := p.user(); ok && uid != 0 && uid != os.Geteuid() && uid != owner {
			return none("process %d of pid file %s is user %d's, who did not write that file", pid, n.opt.PID, uid)
		}
	}
	run, err := argsOf(p, b, title)
	if err != nil {
		return process{}, args{}, err
	}
	if !samePath(run.Conf, n.named(b)) {
		return none("process %d of pid file %s is the master of %s, not of %s", pid, n.opt.PID, run.Conf, n.named(b))
	}
	return p, run, nil
}

// pid is the number in the pid file. In another PID namespace it is another process's, or nobody's.
func (n *Nginx) pid() (int, error) {
	text, err := os.ReadFile(n.opt.PID)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return 0, absent("there is no pid file %s", n.opt.PID)
		}
		return 0, fmt.Errorf("read pid file: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 0 {
		return 0, absent("the pid file %s holds no process id", n.opt.PID)
	}
	return pid, nil
}

// pidHint says so if the configuration names another pid file than the one we look at.
func (n *Nginx) pidHint(s setup, t *tree) (hint string) {
	t.mainly(func(st *ngxconf.Statement) {
		if st.Name() != "pid" || len(st.Words) != 2 {
			return
		}
		if path := under(s.prefix, st.Words[1].Text); !samePath(path, n.opt.PID) {
			hint = fmt.Sprintf("%s says pid %s; nginx.pid should be the same", t.main.name, path)
		}
	})
	return hint
}

func samePath(a, b string) bool {
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// hangup sends SIGHUP to p and to nobody else: a pid that was reused since is not signalled.
func (p process) hangup() error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ENOSYS) { // before Linux 5.3
		if !p.alive() {
			return unix.ESRCH
		}
		return unix.Kill(p.PID, unix.SIGHUP)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if !p.alive() {
		return unix.ESRCH
	}
	return unix.PidfdSendSignal(fd, unix.SIGHUP, nil, 0)
}
