package lbd

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kballard/go-shellquote"

	"github.com/bazbeans/bazbeans/lbd/nginx"
)

// Versions of Nginx from which on something is there, as in NGINX_VERSION_NUMBER; from its CHANGES.
const (
	gentleTest     = 1013004 // nginx -t takes no connections from a reuseport listener
	resolveLines   = 1027003 // `server name resolve` without a subscription
	minTimeout     = 1027004 // keepalive_min_timeout
	drainLines     = 1029006 // `server … drain`, with sticky
	keepaliveGiven = 1029007 // keep-alive to upstreams by default
)

func dotted(version int) string {
	return fmt.Sprintf("%d.%d.%d", version/1000000, version/1000%1000, version%1000)
}

func (d *doctor) checkBinary(context.Context) {
	in := d.site
	if in == nil {
		d.add(finding{Code: "nginx-binary", Level: levelProblem, What: d.noBin.Error(),
			Means: "Without the binary nothing can be tested, so lbd changes nothing. All that follows about Nginx is left out.",
			Where: inShell, Fix: "apt-get install nginx\n# or name it in lbd's config: nginx: {binary: /usr/sbin/nginx}"})
		return
	}
	d.ok("nginx-binary", "nginx %s, %s", dotted(in.Version), in.Binary)
	var lacks []string
	for _, l := range []struct {
		from int
		what string
	}{
		{minTimeout, "keepalive_min_timeout (a reload may reset idle client connections)"},
		{resolveLines, "`resolve` in upstreams"},
		{drainLines, "`drain` in upstreams"},
		{keepaliveGiven, "keep-alive to the nodes by default"},
	} {
		if in.Version < l.from {
			lacks = append(lacks, fmt.Sprintf("%s: from %s", l.what, dotted(l.from)))
		}
	}
	switch {
	case in.Version < gentleTest:
		d.add(finding{Code: "nginx-version", Level: levelWarning, What: fmt.Sprintf("nginx %s is older than %s", dotted(in.Version), dotted(gentleTest)),
			Means: "Its `nginx -t` takes connections away from listeners with reuseport, and lbd runs it before each change.",
			Where: inShell, Fix: "apt-get install --only-upgrade nginx"})
	case len(lacks) > 0:
		d.add(finding{Code: "nginx-version", Level: levelNote, What: "this version lacks " + strings.Join(lacks, "; "),
			Means: "lbd does without; a newer Nginx does better."})
	default:
		d.ok("nginx-version", "%s has all that lbd can use", dotted(in.Version))
	}
	d.checkModules()
}

func (d *doctor) checkModules() {
	lua := slices.ContainsFunc(d.site.Built, func(a string) bool { return strings.HasPrefix(a, "--add-module=") && strings.Contains(a, "lua") })
	var loaded []string
	for _, m := range d.site.Named("load_module") {
		name := strings.TrimSuffix(filepath.Base(m.Arg(0)), ".so")
		loaded = append(loaded, name)
		lua = lua || strings.HasPrefix(name, "ngx_http_lua_module")
	}
	says := "no dynamic modules are loaded"
	if loaded != nil {
		says = "dynamic modules: " + strings.Join(loaded, ", ")
	}
	if lua {
		says += "; Lua is there"
	}
	d.ok("nginx-modules", "%s", says)
}

func (d *doctor) checkMaster(context.Context) {
	in := d.site
	if in == nil {
		return
	}
	if want := in.PIDFile.Configured; want != "" && filepath.Clean(want) != filepath.Clean(in.PIDFile.Path) && !sameFile(want, in.PIDFile.Path) {
		d.add(finding{Code: "pid-path", Level: levelProblem, What: fmt.Sprintf("lbd looks at %s, Nginx writes %s", in.PIDFile.Path, want),
			Means: "lbd takes Nginx for stopped: it installs files and never reloads.",
			Where: inConfig, Fix: "nginx:\n  pid: " + want})
	}
	m := in.Master
	switch {
	case m != nil:
		d.ok("nginx-master", "master %d serves %s with %d worker(s)", m.PID, in.Conf, m.Workers)
	case d.state.Unseen:
		d.ok("nginx-master", "its processes can't be seen, its proof listener answers for what was proven last")
	case d.ownMaster() != nil:
		own := d.ownMaster()
		d.add(finding{Code: "nginx-master", Level: levelProblem, What: fmt.Sprintf("master %d serves %s, but: %s", own.PID, in.Conf, in.Why),
			Means: "lbd believes the pid file alone, so to it Nginx is stopped: it installs files and never reloads.",
			Where: inShell, Fix: fmt.Sprintf("echo %d > %s", own.PID, shellquote.Join(in.PIDFile.Path))})
	case len(in.Masters) > 0 && !in.PIDFile.Empty:
		other := in.Masters[0]
		d.add(finding{Code: "master-conf", Level: levelWarning, What: fmt.Sprintf("no master serves %s; master %d serves %s", in.Conf, other.PID, other.Conf),
			Means: "If that is the Nginx you mean, lbd writes for another configuration than the one that serves: " + in.Why + ".",
			Where: inConfig, Fix: "nginx:\n  conf: " + other.Conf})
	default:
		d.add(finding{Code: "nginx-master", Level: levelWarning, What: "Nginx is not running: " + in.Why,
			Means: "lbd installs what passes the test and never starts Nginx. If it runs where its processes can't be seen, as in another container, set nginx.proof and nginx.reload.",
			Where: inShell, Fix: "systemctl start nginx"})
	}
	if m == nil && in.PIDFile.Empty {
		d.add(finding{Code: "pid-file", Level: levelNote, What: in.PIDFile.Path + " is empty",
			Means: "`nginx -t` leaves it so while Nginx is down; Nginx writes it anew when it starts."})
	}
	if m == nil {
		return
	}
	if m.Global != "" {
		d.add(finding{Code: "master-global", Level: levelNote, What: fmt.Sprintf("the master runs with -g %q", m.Global),
			Means: "lbd gives the same to each `nginx -t`."})
	}
	if m.Replaced {
		d.add(finding{Code: "binary-replaced", Level: levelWarning, What: fmt.Sprintf("master %d runs a binary that is no longer on disk", m.PID),
			Means: "The new binary judges, the old one serves: what passes the test may be refused at the reload.",
			Where: inShell, Fix: "systemctl restart nginx"})
	}
}

// ownMaster is a master of our configuration that the pid file does not name.
func (d *doctor) ownMaster() *nginx.Master {
	for i, m := range d.site.Masters {
		if m.Conf != "" && (m.Conf == d.site.Conf || sameFile(m.Conf, d.site.Conf)) {
			return &d.site.Masters[i]
		}
	}
	return nil
}

func (d *doctor) checkWorkers(context.Context) {
	if d.site == nil || d.site.Master == nil {
		return
	}
	m := d.site.Master
	if len(m.Orphans) > 0 {
		pids := strings.Trim(fmt.Sprint(m.Orphans), "[]")
		d.add(finding{Code: "orphan-workers", Level: levelWarning, What: "worker(s) " + pids + " are of a master that was killed",
			Means: "They go on by what they have read, may still take connections, and no reload ends them. A drain waits for them.",
			Where: inShell, Fix: "kill -QUIT " + pids})
	}
	text := fmt.Sprintf("%d old worker(s) still drain, the oldest for %s, together %d MiB", m.Draining, m.Oldest.Round(time.Second), m.Memory>>20)
	switch {
	case m.Draining == 0:
		d.ok("old-workers", "none is left of former configurations")
	case m.Draining > 2*max(m.Workers, 1):
		f := finding{Code: "old-workers", Level: levelWarning, What: text,
			Means: "Each reload leaves more of them, and they go on sending to nodes that were taken out."}
		if d.last("worker_shutdown_timeout") == nil {
			f.Where, f.Fix = d.outside(), "worker_shutdown_timeout 60s;"
		}
		d.add(f)
	default:
		d.add(finding{Code: "old-workers", Level: levelNote, What: text, Means: "They finish their requests; a drain waits for them."})
	}
}
