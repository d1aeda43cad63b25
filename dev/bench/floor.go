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

func startFloor(ctx context.Context, s *site, name string) (front, contender, error) {
	web, err := startWeb(ctx, s, name, webOptions{})
	if err != nil {
		return nil, nil, err
	}
	f := &floor{web: web.Nginx, files: map[string][]byte{}, took: stepTimes{}}
	for _, frozen := range append([]string{""}, s.ids()...) {
		if f.files[frozen], err = rendered(usual, s.peers(), frozen); err != nil {
			return web, nil, err
		}
	}
	return web, f, f.apply(ctx, "")
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

// upstream is what may differ from lbd's defaults.
type upstream struct {
	balance   string
	keepalive int
}

// usual are lbd's defaults.
var usual = upstream{balance: "least_conn", keepalive: 32}

// rendered is the file that lbd's reload engine writes for some nodes, but for a frozen one.
func rendered(settings upstream, peers []render.Server, frozen string) ([]byte, error) {
	u := render.Upstream{Name: "app_backend", Keepalive: settings.keepalive, Server: render.ServerParams{MaxFails: 1, FailTimeout: 10 * time.Second}}
	var err error
	if u.Balance, err = render.ParseBalance(settings.balance); err != nil {
		return nil, err
	}
	serving := slices.DeleteFunc(slices.Clone(peers), func(p render.Server) bool { return p.ID == frozen })
	view, err := render.NewView(u, serving, lbID)
	if err != nil {
		return nil, err
	}
	set, err := render.Load("", nil)
	if err != nil {
		return nil, err
	}
	return set.Render(view)
}

// peers are the nodes as a view has them.
func (s *site) peers() []render.Server {
	var peers []render.Server
	for _, n := range s.nodes {
		peers = append(peers, render.Server{ID: n.ID(), Addr: netip.MustParseAddrPort(n.Addr()), Weight: 1})
	}
	return peers
}

// ids are the ids of the nodes.
func (s *site) ids() []string {
	var ids []string
	for _, n := range s.nodes {
		ids = append(ids, n.ID())
	}
	return slices.Clip(ids)
}
