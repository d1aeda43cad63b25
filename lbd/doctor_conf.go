package lbd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bazbeans/bazbeans/lbd/nginx"
)

// outside, inside and instead say where in Nginx's configuration a fix goes.
func (d *doctor) outside() string { return "in " + d.site.Conf + " outside all blocks" }

func inside(block *nginx.Directive) string {
	return fmt.Sprintf("in %s inside `%s` of line %d", block.File, block, block.Line)
}

func instead(of *nginx.Directive) string {
	return fmt.Sprintf("in %s instead of line %d", of.File, of.Line)
}

// http returns the http block; without one, a made-up one that says where it would stand.
func (d *doctor) http() *nginx.Directive {
	for _, b := range d.site.Main {
		if b.Name == "http" {
			return b
		}
	}
	return &nginx.Directive{Name: "http", File: d.site.Conf, Line: 1}
}

// last is the directive of a name in the main context that counts.
func (d *doctor) last(name string) (found *nginx.Directive) {
	for _, s := range d.site.Main {
		if s.Name == name {
			found = s
		}
	}
	return found
}

// checkTest asks Nginx itself: of what is on disk, and of what lbd would write.
func (d *doctor) checkTest(ctx context.Context) {
	e := d.l.nginx
	if d.site == nil || e == nil {
		return
	}
	who := "as " + userName(d.uid)
	if d.site.Broken != "" {
		d.add(finding{Code: "config-unread", Level: levelWarning, What: "lbd can't read " + d.site.Broken,
			Means: "What is in it and behind it was not looked at."})
	}
	live, err := e.TestLive(ctx)
	if err != nil {
		d.add(finding{Code: "nginx-test", Level: levelProblem, What: err.Error(), Means: "Without `nginx -t` lbd changes nothing."})
		return
	}
	err = d.l.rehearse(ctx, d.files)
	switch {
	case live == "" && err == nil:
		d.ok("nginx-test", "`nginx -t` passes %s, with lbd's files too", who)
	case live == "":
		d.add(finding{Code: "nginx-test", Level: levelProblem, What: fmt.Sprintf("`nginx -t` passes %s, but not with lbd's files: %v", who, err),
			Means: "lbd will change nothing until it does."})
	case err == nil:
		d.add(finding{Code: "nginx-test", Level: levelNote, What: fmt.Sprintf("`nginx -t` fails %s now (%s), and passes with lbd's files", who, live),
			Means: "Until lbd has written them Nginx neither starts nor reloads.", Where: inShell, Fix: "lbd once"})
	default:
		f := finding{Code: "nginx-test", Level: levelProblem, What: fmt.Sprintf("`nginx -t` fails %s: %s", who, live),
			Means: "Until it passes nobody can reload, and lbd changes nothing."}
		if d.uid != 0 && strings.Contains(live, "Permission denied") {
			f.Means = "As this user Nginx can't open what it opens as root: run lbd as root, or with the capabilities of its systemd unit."
		}
		d.add(f)
	}
}

// checkReloads looks at what makes a reload cost more than it must.
func (d *doctor) checkReloads(context.Context) {
	in := d.site
	if in == nil {
		return
	}
	if t := d.last("worker_shutdown_timeout"); t != nil {
		d.ok("shutdown-timeout", "%s", t)
	} else {
		d.add(finding{Code: "shutdown-timeout", Level: levelWarning, What: "worker_shutdown_timeout is not set",
			Means: "Old workers live as long as their last web socket: memory grows with each reload, and a drain may never end.",
			Where: d.outside(), Fix: "worker_shutdown_timeout 60s;"})
	}
	if in.Version >= minTimeout {
		if t := in.Named("keepalive_min_timeout"); len(t) > 0 {
			d.ok("keepalive-min-timeout", "%s", t[0])
		} else {
			d.add(finding{Code: "keepalive-min-timeout", Level: levelWarning, What: "keepalive_min_timeout is not set",
				Means: "At a reload idle client connections are closed at once, and a request that is on its way is reset.",
				Where: inside(d.http()), Fix: "keepalive_min_timeout 5s;"})
		}
	}
	if m := d.last("master_process"); m != nil && m.Arg(0) == "off" {
		d.add(finding{Code: "master-process", Level: levelProblem, What: "master_process off",
			Means: "Without a master there is no reload.", Where: instead(m), Fix: "master_process on;"})
	}
	if m := d.last("daemon"); m != nil && m.Arg(0) == "off" {
		d.add(finding{Code: "daemon-off", Level: levelNote, What: fmt.Sprintf("%s line %d: daemon off", m.File, m.Line),
			Means: "Reloads work. A systemd unit of Type=forking, as Debian's is, would wait for ever at its start."})
	}
	for _, l := range in.Named("listen") {
		if slices.Contains(l.Args, "reuseport") {
			d.add(finding{Code: "reuseport", Level: levelNote, What: fmt.Sprintf("%s line %d: %s", l.File, l.Line, l),
				Means: "Each worker has a queue of its own: change worker_processes only with a restart, since a reload closes queues with what waits in them."})
			break
		}
	}
	if proof := d.l.cfg.Nginx.Proof; strings.HasPrefix(proof, "unix:") {
		d.add(finding{Code: "proof-socket", Level: levelNote, What: "nginx.proof is " + proof,
			Means: "If lbd and Nginx are killed together in the middle of a reload the socket stays, and Nginx does not start until it is gone. A port has no such end.",
			Where: inConfig, Fix: "nginx:\n  proof: 127.0.0.1:9181"})
	}
}

// checkErrorLog looks for a log in which lbd can read why a reload was refused.
func (d *doctor) checkErrorLog(context.Context) {
	if d.site == nil {
		return
	}
	paths := d.site.Logs
	if m := d.site.Master; m != nil { // a master's standard error is its log
		if path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/2", m.PID)); err == nil && filepath.IsAbs(path) {
			paths = append(slices.Clone(paths), path)
		}
	}
	why := ""
	for _, path := range paths {
		switch unreadable := logTrouble(path); {
		case unreadable == "":
			d.ok("error-log", "%s can be read", path)
			return
		case why == "":
			why = unreadable
		}
	}
	file := d.site.ErrorLog
	if !filepath.IsAbs(file) {
		file = "/var/log/nginx/error.log"
	}
	f := finding{Code: "error-log", Level: levelWarning, What: why,
		Means: "lbd reads there why Nginx refused a reload: without it a refusal is noticed late and nobody can say why.",
		Where: d.outside(), Fix: "error_log " + file + " notice;"}
	if log := d.last("error_log"); log != nil {
		f.Where = instead(log)
	}
	d.add(f)
}

// logTrouble says why lbd can't read Nginx's refusals in a log, "" when it can.
func logTrouble(path string) string {
	switch {
	case !filepath.IsAbs(path):
		return "the error log is " + path
	case filepath.Base(path) == "off":
		return fmt.Sprintf("error_log off does not turn the log off: it writes a file %s", path)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "" // Nginx makes it
	case err != nil:
		return err.Error()
	case !info.Mode().IsRegular():
		return "the error log is " + path + ", which can't be read"
	}
	if err := unix.Faccessat(unix.AT_FDCWD, path, unix.R_OK, unix.AT_EACCESS); err != nil {
		return fmt.Sprintf("the error log %s: %v", path, err)
	}
	return ""
}

// checkLimits compares what workers may open with what they are asked to.
func (d *doctor) checkLimits(context.Context) {
	in := d.site
	if in == nil {
		return
	}
	connections, set := 512, (*nginx.Directive)(nil) // 512 is Nginx's default
	for _, c := range in.Named("worker_connections") {
		if n, err := strconv.Atoi(c.Arg(0)); err == nil {
			connections, set = n, c
		}
	}
	files := 0
	if in.Master != nil {
		files = in.Master.NoFile
	}
	limit := d.last("worker_rlimit_nofile")
	if limit != nil {
		if n, err := strconv.Atoi(limit.Arg(0)); err == nil {
			files = n
		}
	}
	if files > 0 && files < connections {
		f := finding{Code: "worker-files", Level: levelWarning, What: fmt.Sprintf("a worker may have %d connections but open only %d files", connections, files),
			Means: "Under load it fails with `Too many open files`.", Where: d.outside(), Fix: fmt.Sprintf("worker_rlimit_nofile %d;", 2*connections)}
		if limit != nil {
			f.Where = instead(limit)
		}
		d.add(f)
	}
	idle, nodes := 0, 0
	for _, u := range d.l.upstreams {
		idle += u.Keepalive
		nodes += len(d.plan.Sets[u.Name])
	}
	if need := 2 * max(idle, nodes); connections < need {
		f := finding{Code: "worker-connections", Level: levelWarning, What: fmt.Sprintf("worker_connections is %d, for %d node(s) and %d idle connections to them", connections, nodes, idle),
			Means: "Connections to nodes count as well: few would be left for clients.", Fix: fmt.Sprintf("worker_connections %d;", max(4*need, 1024))}
		if set != nil {
			f.Where = instead(set)
		} else {
			f.Where = "in events {} of " + in.Conf
		}
		d.add(f)
	} else {
		d.ok("worker-connections", "%d a worker", connections)
	}
}
