package main

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/render"
	"github.com/bazbeans/bazbeans/step"
)

// floor is the least that any tool does that has Nginx reload, when it knows already what to write: no store, no
// watcher, no rendering. It writes a temporary file, renames it (no fsync), runs `nginx -t` and sends SIGHUP. What it
// writes is what lbd writes for the same nodes.
type floor struct {
	web   *servers.Nginx
	files map[string][]byte // by the node that is frozen; "": none is
	took  stepTimes
}

func startFloor(ctx context.Context, s *site, web *servers.Nginx) (contender, error) {
	f := &floor{web: web, files: map[string][]byte{}, took: stepTimes{}}
	for _, frozen := range append([]string{""}, s.ids()...) {
		var err error
		if f.files[frozen], err = rendered(s, frozen); err != nil {
			return nil, err
		}
	}
	return f, f.apply(ctx, "")
}

func (f *floor) freeze(ctx context.Context, node string) error { return f.apply(ctx, node) }
func (f *floor) unfreeze(ctx context.Context, _ string) error  { return f.apply(ctx, "") }
func (f *floor) daemon() *daemon                               { return nil }
func (f *floor) close() error                                  { return nil }

func (f *floor) steps(context.Context) (stepTimes, error) { return maps.Clone(f.took), nil }

func (f *floor) apply(ctx context.Context, frozen string) error {
	began := time.Now()
	file := upstreamFile(f.web)
	temp := filepath.Join(filepath.Dir(file), ".upstream.conf.new")
	if err := os.WriteFile(temp, f.files[frozen], 0o644); err != nil {
		return err
	}
	if err := os.Rename(temp, file); err != nil {
		return err
	}
	f.took.add(step.Install, time.Since(began))

	began = time.Now()
	if said, err := exec.CommandContext(ctx, f.web.Binary, "-t", "-p", f.web.Prefix, "-c", f.web.Conf).CombinedOutput(); err != nil {
		return fmt.Errorf("nginx -t: %w: %s", err, said)
	}
	f.took.add(step.Test, time.Since(began))
	return syscall.Kill(f.web.Master(), syscall.SIGHUP)
}

// lbID is lbd's id; the order of the servers in the file depends on it.
const lbID = "bench"

// rendered is the file that lbd with its default settings writes for the nodes of the site, but for a frozen one.
func rendered(s *site, frozen string) ([]byte, error) {
	u := render.Upstream{Name: "app_backend", Keepalive: 32, Server: render.ServerParams{MaxFails: 1, FailTimeout: 10 * time.Second}}
	var err error
	if u.Balance, err = render.ParseBalance("least_conn"); err != nil {
		return nil, err
	}
	var servers []render.Server
	for _, n := range s.nodes {
		if n.ID() != frozen {
			servers = append(servers, render.Server{ID: n.ID(), Addr: netip.MustParseAddrPort(n.Addr()), Weight: 1})
		}
	}
	view, err := render.NewView(u, servers, lbID)
	if err != nil {
		return nil, err
	}
	set, err := render.Load("", nil)
	if err != nil {
		return nil, err
	}
	return set.Render(view)
}

// ids are the ids of the nodes.
func (s *site) ids() []string {
	var ids []string
	for _, n := range s.nodes {
		ids = append(ids, n.ID())
	}
	return slices.Clip(ids)
}
