package lbd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
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

// checkRunning finds an lbd at work on this host, and asks it how it is.
func (d *doctor) checkRunning(ctx context.Context) {
	if d.l.beside == nil {
		d.l.beside = d.l.lookBeside(ctx)
	}
	holder := d.l.beside.holder
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
	s, version, err := d.l.beside.status, d.l.beside.version, d.l.beside.err
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
