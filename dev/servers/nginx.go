package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// NginxOptions say which nginx to run, where, and with what configuration.
type NginxOptions struct {
	Binary string   // default: nginx, from PATH; another Debian's: base.Root.Nginx
	Dir    string   // required; made if missing; the prefix, with nginx.conf right in it
	Listen []string // addr:port, for the default configuration; default: one free port on 127.0.0.1

	// Modules are dynamic modules that the default configuration loads, in that
	// order: absolute paths, as Binary sees them.
	Modules []string

	// Workers is worker_processes of the default configuration; default 2.
	Workers int

	// Conf is the whole text of nginx.conf. Relative paths in it are below
	// Dir. It must have a `pid` line, else the machine's own /run/nginx.pid
	// would be written, and neither a `daemon` line, for nginx runs as our
	// child, nor `master_process`.
	// Default: conf.d/*.conf and a server on Listen that passes everything to
	// the upstream app_backend, see [DefaultConf].
	Conf string

	// Files are written before the start: path relative to Dir, then content.
	Files map[string]string
}

// Nginx is a running nginx. The exported fields do not change.
type Nginx struct {
	Binary   string   // absolute path
	Prefix   string   // Dir, absolute: nginx -p
	Conf     string   // nginx.conf, absolute: nginx -c
	PIDFile  string   // absolute
	ErrorLog string   // the main one, absolute
	Listen   []string // as in the options, or the free port that was taken

	proc *process
}

// StartNginx writes the files, starts nginx and returns when its listeners are
// open. ctx bounds the start only. An error carries what nginx said.
func StartNginx(ctx context.Context, opts NginxOptions) (*Nginx, error) {
	n, err := newNginx(opts)
	if err != nil {
		return nil, fmt.Errorf("start nginx: %w", err)
	}
	if err := n.start(ctx); err != nil {
		return nil, err
	}
	return n, nil
}

func newNginx(opts NginxOptions) (*Nginx, error) {
	binary, err := lookBinary(opts.Binary, "nginx", "nginx")
	if err != nil {
		return nil, err
	}
	if opts.Dir == "" {
		return nil, errors.New("no folder given")
	}
	prefix, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, err
	}
	if len(opts.Listen) == 0 && opts.Conf == "" {
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		opts.Listen = []string{Loopback(port)}
	}
	n := &Nginx{Binary: binary, Prefix: prefix, Conf: filepath.Join(prefix, "nginx.conf"), Listen: opts.Listen}

	conf := opts.Conf
	if conf == "" {
		conf = DefaultConf(opts)
	}
	if n.PIDFile = n.path(conf, "pid"); n.PIDFile == "" {
		return nil, errors.New("the configuration has no `pid` line")
	}
	if n.ErrorLog = n.path(conf, "error_log"); n.ErrorLog == "" || filepath.Base(n.ErrorLog) == "stderr" {
		n.ErrorLog = n.output()
	}
	if err := writeFile(n.Conf, conf); err != nil {
		return nil, err
	}
	for name, text := range opts.Files {
		if !filepath.IsLocal(name) {
			return nil, fmt.Errorf("file %q is not below the folder", name)
		}
		if err := writeFile(filepath.Join(prefix, name), text); err != nil {
			return nil, err
		}
	}
	if opts.Conf == "" {
		if err := placeholder(prefix); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// Master is the process id of the nginx master.
func (n *Nginx) Master() int { return n.proc.pid }

// Alive says whether the master runs.
func (n *Nginx) Alive() bool { return n.proc.alive() }

// Stop ends nginx (SIGTERM: it cuts connections and removes its pid file and
// sockets) and waits for it. One that has ended before is no error.
func (n *Nginx) Stop() error { return n.proc.stop(syscall.SIGTERM) }

// Kill ends the master and all workers, old ones too, at once (SIGKILL) and
// waits until they are gone. The pid file and unix sockets stay behind.
func (n *Nginx) Kill() error { return n.proc.kill() }

// Restart stops nginx if it runs and starts it with what is on disk now.
func (n *Nginx) Restart(ctx context.Context) error {
	if err := n.Stop(); err != nil {
		return fmt.Errorf("restart nginx: %w", err)
	}
	return n.start(ctx)
}

// LogTail returns the last lines of the error log and of what nginx wrote
// before it had opened that.
func (n *Nginx) LogTail() string {
	if n.ErrorLog == n.output() {
		return tail(n.output())
	}
	return tail(n.output()) + "\n" + tail(n.ErrorLog)
}

// output is the file with what nginx writes to its standard error.
func (n *Nginx) output() string { return filepath.Join(n.Prefix, "nginx.out") }

// start runs nginx as our child. When we die it gets SIGTERM and not SIGKILL:
// workers whose master was killed would go on serving.
func (n *Nginx) start(ctx context.Context) error {
	argv := []string{n.Binary, "-p", n.Prefix, "-c", n.Conf, "-e", "stderr", "-g", "daemon off;"}
	proc, err := spawn(argv, n.Prefix, n.output(), syscall.SIGTERM)
	if err != nil {
		return fmt.Errorf("start nginx: %w", err)
	}
	// nginx writes its pid file once all listeners are open. From its title on it is seen to be a master, and a signal
	// that comes before that it may sleep over.
	err = proc.waitReady(ctx, func() error {
		text, err := os.ReadFile(n.PIDFile)
		if err != nil {
			return err
		}
		if pid := strings.TrimSpace(string(text)); pid != strconv.Itoa(proc.pid) {
			return fmt.Errorf("%s names process %q, not %d", n.PIDFile, pid, proc.pid)
		}
		title, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", proc.pid))
		if err == nil && !strings.HasPrefix(string(title), "nginx: master process") { // else there is no such file on this system
			return fmt.Errorf("process %d is %q yet", proc.pid, title)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("start nginx in %s: %w; its log ends:\n%s", n.Prefix, err, n.LogTail())
	}
	n.proc = proc
	return nil
}

// path returns the absolute path that the first such directive in conf names,
// "" without one.
func (n *Nginx) path(conf, directive string) string {
	found := regexp.MustCompile(`(?m)(?:^|[;{}])\s*` + directive + `\s+"?([^\s;"]+)`).FindStringSubmatch(conf)
	if found == nil {
		return ""
	}
	if filepath.IsAbs(found[1]) {
		return found[1]
	}
	return filepath.Join(n.Prefix, found[1])
}

func writeFile(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}
