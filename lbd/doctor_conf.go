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
	"syscall"

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
	e, real := d.l.engine.(reloads)
	if d.site == nil || !real {
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
	err = e.Rehearse(ctx, d.files)
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

// checkOutputs looks at each place that lbd writes to.
func (d *doctor) checkOutputs(context.Context) {
	if d.site == nil {
		return
	}
	for _, o := range d.site.Outputs {
		d.checkIncluded(o)
		d.checkPlace(o)
	}
}

func (d *doctor) checkIncluded(o nginx.Output) {
	at := d.site.Reached[o.Path]
	var wrong []nginx.Context
	for _, c := range at {
		if !slices.Equal(c, nginx.Context{"http"}) {
			wrong = append(wrong, c)
		}
	}
	http := d.http()
	switch {
	case o.Err != nil: // said by checkPlace
	case len(at) == 0:
		d.add(finding{Code: "output-included", Level: levelProblem, What: fmt.Sprintf("no include statement of %s leads to %s", d.site.Conf, o.Path),
			Means: "Nginx would never read what lbd writes, so lbd refuses to.",
			Where: inside(http), Fix: "include " + o.Path + ";"})
	case len(wrong) > 0:
		d.add(finding{Code: "output-included", Level: levelProblem, What: fmt.Sprintf("%s is included in %s", o.Path, wrong[0]),
			Means: "An upstream may stand right inside http {} only.",
			Where: inside(http), Fix: "include " + o.Path + ";"})
	case len(at) > 1:
		d.add(finding{Code: "output-included", Level: levelProblem, What: fmt.Sprintf("%s is included %d times", o.Path, len(at)),
			Means: "Nginx refuses an upstream that is defined twice: take all includes but one away."})
	default:
		d.ok("output-included", "%s is included in http {}", o.Path)
	}
}

func (d *doctor) checkPlace(o nginx.Output) {
	folder := filepath.Dir(o.Path)
	switch {
	case o.Err != nil:
		d.add(finding{Code: "output-place", Level: levelProblem, What: fmt.Sprintf("%s: %v", o.Path, o.Err), Means: "lbd can't write there."})
		return
	case o.Mount:
		d.add(finding{Code: "output-mount", Level: levelProblem, What: o.Path + " is a mount point of its own",
			Means: "A file that is mounted alone can't be replaced in one step: mount its folder instead.",
			Where: "where the container is started", Fix: fmt.Sprintf("-v /srv/lbd:%s    # not …:%s", folder, o.Path)})
	case o.Real != "" && o.Real != filepath.Clean(o.Path):
		folder = filepath.Dir(o.Real)
		d.add(finding{Code: "output-link", Level: levelNote, What: fmt.Sprintf("%s leads to %s", o.Path, o.Real),
			Means: "The link stays; lbd replaces the file that it leads to, and writes in that file's folder."})
	}
	f := finding{Code: "output-folder", Level: levelProblem, What: fmt.Sprint(o.Folder), Means: "lbd makes its file there under another name first, and renames it."}
	switch {
	case o.Folder == nil:
		d.ok("output-folder", "files can be made in %s", folder)
		d.checkSpace("output-space", folder)
		return
	case errors.Is(o.Folder, fs.ErrNotExist):
		f.Where, f.Fix = inShell, "mkdir -p "+folder
	case errors.Is(o.Folder, syscall.EROFS):
		f.Where, f.Fix = "in the unit of lbd (systemctl edit lbd), if that is what makes it read-only", "[Service]\nReadWritePaths="+folder
	case errors.Is(o.Folder, fs.ErrPermission):
		f.Means += " " + userName(d.uid) + " may not."
		f.Where, f.Fix = inShell, fmt.Sprintf("chown %s %s    # or run lbd as root", userName(d.uid), folder)
	}
	d.add(f)
}

// Rooms on a file system, in bytes: a generation of 1,000 servers has some 60 kB, and several are kept.
const (
	tooLittle = 4 << 20
	enough    = 64 << 20
)

func (d *doctor) checkSpace(code, dir string) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Blocks == 0 {
		return
	}
	free := int64(st.Bavail) * st.Bsize
	says := fmt.Sprintf("%d MiB are free in %s", free>>20, dir)
	if st.Files > 0 && st.Ffree < 100 {
		free, says = 0, fmt.Sprintf("%d inodes are free in %s", st.Ffree, dir)
	}
	f := finding{Code: code, Level: levelWarning, What: says, Means: "When nothing is free lbd changes nothing any more, and Nginx can't write its temporary files.",
		Where: inShell, Fix: "du -xh " + dir + " | sort -h | tail    # see what can go"}
	switch {
	case free < tooLittle:
		f.Level = levelProblem
		d.add(f)
	case free < enough:
		d.add(f)
	default:
		d.ok(code, "%s", says)
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
		d.add(finding{Code: "proof-socket", Level: levelWarning, What: "nginx.proof is " + proof,
			Means: "A socket file that a killed Nginx leaves behind, or a folder that a reboot takes away, keeps Nginx from starting.",
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
	f := finding{Code: "error-log", Level: levelWarning, What: why,
		Means: "lbd reads there why Nginx refused a reload: without it a refusal is noticed late and nobody can say why.",
		Where: d.outside(), Fix: "error_log /var/log/nginx/error.log notice;"}
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
