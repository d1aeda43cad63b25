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
// may be empty, stale, or name a stranger.
func (n *Nginx) master(b build) (process, error) {
	text, err := os.ReadFile(n.opt.PID)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return process{}, absent("there is no pid file %s", n.opt.PID)
		}
		return process{}, fmt.Errorf("read pid file: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 0 {
		return process{}, absent("the pid file %s holds no process id", n.opt.PID)
	}
	p, _, ok := stat(pid)
	if !ok {
		return process{}, absent("process %d of pid file %s has ended", pid, n.opt.PID)
	}
	title := p.title()
	if !strings.HasPrefix(title, masterTitle) {
		return process{}, absent("process %d of pid file %s is no nginx master", pid, n.opt.PID)
	}
	// Who may not look at the executable may not send a signal either; the title must do then.
	if exe, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe"); err == nil {
		exe = strings.TrimSuffix(exe, " (deleted)") // upgraded on disk
		// The binary that was named may be a script that runs the real one.
		if base := filepath.Base(exe); exe != b.path && base != filepath.Base(b.path) && base != "nginx" {
			return process{}, absent("process %d of pid file %s runs %s, not %s", pid, n.opt.PID, exe, b.path)
		}
	}
	args := parseArgs(title)
	if args.prefix != "" && !filepath.IsAbs(args.prefix) {
		cwd, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/cwd")
		if err != nil {
			return process{}, absent("the prefix %s of process %d is relative, and its folder cannot be read", args.prefix, pid)
		}
		args.prefix = filepath.Join(cwd, args.prefix)
	}
	if conf := args.confIn(b); !samePath(conf, n.conf(b)) {
		return process{}, absent("process %d of pid file %s is the master of %s, not of %s", pid, n.opt.PID, conf, n.conf(b))
	}
	return p, nil
}

// args are the options in the title of a master. Nginx joins them with spaces: a value ends where the next word
// begins with "-".
type args struct{ conf, prefix, global string }

func parseArgs(title string) args {
	var a args
	words := strings.Fields(strings.TrimPrefix(title, masterTitle))
	for i := 0; i < len(words); i++ {
		word := words[i]
		if len(word) < 2 || word[0] != '-' || !strings.ContainsRune("cpgse", rune(word[1])) {
			continue
		}
		value := []string{word[2:]}
		for i+1 < len(words) && !strings.HasPrefix(words[i+1], "-") {
			i++
			value = append(value, words[i])
		}
		text := strings.TrimSpace(strings.Join(value, " "))
		switch word[1] {
		case 'c':
			a.conf = text
		case 'p':
			a.prefix = text
		case 'g':
			a.global = text
		}
	}
	return a
}

// confIn is the main configuration file of a master with these arguments.
func (a args) confIn(b build) string {
	prefix := b.prefix
	if a.prefix != "" {
		prefix = a.prefix
	}
	if a.conf != "" {
		return under(prefix, a.conf)
	}
	return under(prefix, b.conf)
}

// pidHint says so if the configuration names another pid file than the one we look at.
func (n *Nginx) pidHint(b build, t *tree) (hint string) {
	t.mainly(func(st *ngxconf.Statement) {
		if st.Name() != "pid" || len(st.Words) != 2 {
			return
		}
		if path := under(n.prefix(b), st.Words[1].Text); !samePath(path, n.opt.PID) {
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

// global is what to give to nginx -g so that the test is one of the configuration that the master runs.
func (n *Nginx) global(b build) string {
	if n.opt.Global != "" {
		return n.opt.Global
	}
	p, err := n.master(b)
	if err != nil {
		return ""
	}
	return parseArgs(p.title()).global
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
