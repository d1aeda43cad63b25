package lbd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bazbeans/bazbeans/cli"
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
		d.add(finding{Code: "state-dir", Level: levelProblem, What: fmt.Sprintf("%s may not write in %s: %v", userName(d.uid), dir, err),
			Means: "lbd does not start: it keeps there what it served, what it replaced, and copies for the test.",
			Where: inShell, Fix: fmt.Sprintf("install -d -m 0700 -o %s %s", userName(d.uid), d.l.cfg.StateDir)})
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

// checkRunning finds an lbd at work on this host, and asks it how it is.
func (d *doctor) checkRunning(ctx context.Context) {
	holder := flockHolder(filepath.Join(d.l.cfg.StateDir, "lock"))
	others := otherLBDs(holder)
	if holder == 0 {
		d.add(finding{Code: "lbd-running", Level: levelNote, What: "no lbd works with " + d.l.cfg.StateDir})
	} else {
		d.ok("lbd-running", "process %d works with %s", holder, d.l.cfg.StateDir)
	}
	if len(others) > 0 {
		d.add(finding{Code: "lbd-others", Level: levelNote, What: fmt.Sprintf("other lbd processes on this host: %v", others),
			Means: "Each needs its own id, state_dir, status.listen and outputs, and a Nginx of its own."})
	}
	addr := d.l.cfg.Status.Listen
	if addr == "" {
		d.add(finding{Code: "lbd-status", Level: levelNote, What: "status.listen is empty: there is nothing to ask", Means: "Nobody can be alerted either."})
		return
	}
	if host, port, err := net.SplitHostPort(addr); err == nil {
		if ip, err := netip.ParseAddr(host); err != nil && host != "localhost" || err == nil && !ip.IsLoopback() {
			d.add(finding{Code: "status-open", Level: levelWarning, What: "status.listen is " + addr,
				Means: "Whoever reaches it sees the whole fleet: addresses, labels, errors.", Where: inConfig, Fix: "status:\n  listen: 127.0.0.1:" + port})
		}
	}
	s, version, err := askLBD(ctx, addr)
	switch {
	case err != nil && holder == 0 && errors.Is(err, syscall.ECONNREFUSED): // nobody is there, and nobody need be
	case err != nil && holder == 0:
		d.add(finding{Code: "lbd-status", Level: levelProblem, What: fmt.Sprintf("something listens at %s that is not lbd (%v)", addr, err),
			Means: "lbd does not start when it can't listen there.", Where: inConfig, Fix: "status:\n  listen: 127.0.0.1:9190"})
	case err != nil:
		d.add(finding{Code: "lbd-status", Level: levelWarning, What: fmt.Sprintf("lbd does not answer at %s: %v", addr, err),
			Means: "It may be stuck, or have been started with another status.listen."})
	case len(s.Problems) > 0:
		d.add(finding{Code: "lbd-status", Level: levelProblem, What: fmt.Sprintf("lbd %s says: %s", version, strings.Join(s.Problems, "; ")),
			Means: "It is not ready: what Nginx serves may not be what is wanted."})
	default:
		d.ok("lbd-status", "lbd %s serves generation %d, revision %d", version, s.Running, s.Rev)
	}
	if err == nil && version != cli.Version() {
		d.add(finding{Code: "lbd-version", Level: levelNote, What: fmt.Sprintf("the lbd that runs is %s, this one %s", version, cli.Version()),
			Means: "After an upgrade restart it: traffic does not notice."})
	}
}

var buildInfo = regexp.MustCompile(`(?m)^lbd_build_info\{version="([^"]*)"\}`)

// askLBD asks a running lbd for its state and version.
func askLBD(ctx context.Context, addr string) (s Status, version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	get := func(path string) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
		if err != nil {
			return nil, err
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy, and nothing left open
		resp, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		return io.ReadAll(io.LimitReader(resp.Body, 64<<20)) // 10,000 nodes have some 3 MB
	}
	body, err := get("/status")
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	if err != nil {
		return s, "", err
	}
	if s.ID == "" && s.Problems == nil {
		return s, "", errors.New("its /status is not lbd's")
	}
	body, err = get("/metrics")
	if m := buildInfo.FindSubmatch(body); m != nil {
		version = string(m[1])
	}
	return s, version, err
}

// flockHolder is the process that holds the lock on a file, 0 for none. To try the lock would be to hold it, and an
// lbd that starts at that moment would end.
func flockHolder(path string) int {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	st, isUnix := info.Sys().(*syscall.Stat_t)
	if !isUnix {
		return 0
	}
	id := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	text, _ := os.ReadFile("/proc/locks") // "1: FLOCK  ADVISORY  WRITE 4711 fe:00:827533 0 EOF"
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 5 && f[1] == "FLOCK" && f[5] == id {
			pid, _ := strconv.Atoi(f[4])
			return pid
		}
	}
	return 0
}

// otherLBDs lists processes that run a program called lbd, we and the holder of the lock aside.
func otherLBDs(holder int) (pids []int) {
	names, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, name := range names {
		exe, err := os.Readlink(name)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err == nil && filepath.Base(strings.TrimSuffix(exe, " (deleted)")) == "lbd" && pid != os.Getpid() && pid != holder {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// checkSystemd looks at the units of Nginx and lbd, where there is a systemd.
func (d *doctor) checkSystemd(ctx context.Context) {
	nginx, err := unit(ctx, "nginx")
	if err != nil {
		return // no systemd here, as in a container
	}
	lbd, _ := unit(ctx, "lbd")
	switch running := d.site != nil && d.site.Master != nil; {
	case nginx["LoadState"] != "loaded":
	case running && nginx["ActiveState"] != "active" && nginx["ActiveState"] != "reloading":
		d.add(finding{Code: "nginx-unit", Level: levelWarning, What: "Nginx runs, but nginx.service is " + nginx["ActiveState"],
			Means: "It was started by hand: systemd does not restart it, and a start of the unit fails on taken ports.",
			Where: inShell, Fix: "nginx -s quit && systemctl start nginx"})
	case nginx["UnitFileState"] == "disabled":
		d.add(finding{Code: "nginx-unit", Level: levelWarning, What: "nginx.service is not enabled", Means: "After a reboot Nginx stays down.",
			Where: inShell, Fix: "systemctl enable nginx"})
	default:
		d.ok("nginx-unit", "nginx.service is %s", nginx["ActiveState"])
	}
	switch {
	case lbd["LoadState"] != "loaded":
		d.add(finding{Code: "lbd-unit", Level: levelNote, What: "there is no lbd.service", Means: "Somebody else must start lbd after a reboot."})
	case lbd["UnitFileState"] == "disabled":
		d.add(finding{Code: "lbd-unit", Level: levelWarning, What: "lbd.service is not enabled", Means: "After a reboot nobody follows the pool.",
			Where: inShell, Fix: "systemctl enable lbd"})
	case !slices.Contains(strings.Fields(lbd["After"]), "nginx.service") && nginx["LoadState"] == "loaded":
		d.add(finding{Code: "lbd-unit", Level: levelNote, What: "lbd.service is not ordered after nginx.service",
			Means: "At boot lbd may find Nginx down and install without a reload; it mends that at its next resync.",
			Where: "with systemctl edit lbd", Fix: "[Unit]\nAfter=nginx.service"})
	default:
		d.ok("lbd-unit", "lbd.service is %s", lbd["ActiveState"])
	}
}

// unit returns what systemd says of a service.
func unit(ctx context.Context, name string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "systemctl", "show", name+".service", "--property=LoadState,ActiveState,UnitFileState,After").Output()
	if err != nil {
		return nil, err
	}
	said := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if key, value, found := strings.Cut(strings.TrimSpace(line), "="); found {
			said[key] = value
		}
	}
	return said, nil
}

// checkConfinement says what beside users and modes decides about files.
func (d *doctor) checkConfinement(context.Context) {
	if text, err := os.ReadFile("/sys/fs/selinux/enforce"); err == nil && strings.TrimSpace(string(text)) == "1" {
		dir := filepath.Dir(d.l.upstreams[0].Output)
		d.add(finding{Code: "confined", Level: levelNote, What: "SELinux enforces its policy",
			Means: "Files that lbd makes need the label of their folder, and Nginx the right to connect to nodes.",
			Where: inShell, Fix: fmt.Sprintf("restorecon -Rv %s\nsetsebool -P httpd_can_network_connect 1", dir)})
	}
	if d.site == nil || d.site.Master == nil {
		return
	}
	if label := d.site.Master.Label; strings.HasSuffix(label, " (enforce)") { // as AppArmor writes it
		d.add(finding{Code: "confined", Level: levelNote, What: "AppArmor confines Nginx: " + label,
			Means: "Its profile must let it read the folders of lbd's outputs and, for the test, the state_dir."})
	}
}
