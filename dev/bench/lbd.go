package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/nginx-test/base"
	"github.com/bazbeans/bazbeans/pool"
)

// lbd is the real binary, and operators' freezes in Redis. But for what names things, and the engine, its settings are
// the defaults.
type lbd struct {
	site   *site
	pool   *pool.Pool
	proc   *daemon
	status string // host:port
	state  string // its state_dir
}

// engine is how lbd brings peers into Nginx: "" is the reload engine, else it is nginx.live.
type engine string

const (
	byReload  engine = ""
	byLua     engine = "lua"
	byResolve engine = "resolve"
)

// startLBD starts an Nginx and lbd before it.
func startLBD(binary string, e engine, web webOptions) starter {
	return func(ctx context.Context, s *site, name string) (front, contender, error) {
		w, err := startWeb(ctx, s, name, web)
		if err != nil {
			return nil, nil, err
		}
		l := &lbd{site: s}
		if l.pool, err = s.fleet(ctx, name); err != nil {
			return w, nil, err
		}
		if err := l.run(ctx, binary, e, w, name, ""); err != nil {
			return w, l, err
		}
		if e == byReload {
			err = l.sameAsFloor(w.Nginx)
		}
		return w, l, err
	}
}

// startResolve starts lbd's resolve engine before an Nginx that is new enough for it.
func startResolve(o options) starter {
	return func(ctx context.Context, s *site, name string) (front, contender, error) {
		binary := o.newNginx
		if binary == "" {
			sid, err := base.Get(ctx, "sid")
			if err != nil {
				return nil, nil, fmt.Errorf("%w (--new-nginx names another nginx, --only leaves this out)", err)
			}
			binary = sid.Nginx()
		}
		return startLBD(o.lbd, byResolve, webOptions{binary: binary})(ctx, s, name)
	}
}

// run starts the daemon for a pool and an Nginx, and waits until it is ready; more is YAML to be added to its config.
func (l *lbd) run(ctx context.Context, binary string, e engine, web *nginxFront, prefix, more string) error {
	port, err := servers.FreePort()
	if err != nil {
		return err
	}
	l.status = servers.Loopback(port)
	config := fmt.Sprintf("redis: {key_prefix: %s}\n", prefix)
	if e != byReload {
		config += fmt.Sprintf("nginx: {apply: live, live: %s}\n", e)
	}
	file := filepath.Join(web.Prefix, "lbd.yaml")
	if err := os.WriteFile(file, []byte(config+more), 0o644); err != nil {
		return err
	}
	l.state = filepath.Join(web.Prefix, "lbd-state")
	l.proc, err = startDaemon(web.Prefix, binary, "--config", file,
		"--id", lbID, "--redis-url", l.site.redis.URL(), "--upstream-file", upstreamFile(web.Nginx),
		"--nginx-binary", web.Binary, "--nginx-conf", web.Conf, "--nginx-pid", web.PIDFile, "--nginx-prefix", web.Prefix,
		"--state-dir", l.state, "--status-listen", l.status, "--allow-network", "127.0.0.0/8")
	if err != nil {
		return err
	}
	return l.proc.awaitReady(ctx, func() error { _, err := get(ctx, l.status, "/readyz"); return err })
}

// sameAsFloor makes sure that lbd and the floor have Nginx read the same text.
func (l *lbd) sameAsFloor(web *servers.Nginx) error {
	want, err := rendered(usual, l.site.peers(), "")
	if err != nil {
		return err
	}
	got, err := os.ReadFile(upstreamFile(web))
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("lbd writes another file than the bare floor would, so they cannot be compared; lbd:\n%s\nfloor:\n%s", got, want)
	}
	return nil
}

func (l *lbd) freeze(ctx context.Context, node string) error   { return freeze(ctx, l.pool, node) }
func (l *lbd) unfreeze(ctx context.Context, node string) error { return unfreeze(ctx, l.pool, node) }

// freeze is an operator's.
func freeze(ctx context.Context, p *pool.Pool, node string) error {
	_, err := p.Freeze(ctx, node, "bench", "")
	return err
}

func unfreeze(ctx context.Context, p *pool.Pool, node string) error {
	_, err := p.Unfreeze(ctx, node, "bench")
	return err
}

func (l *lbd) daemon() *daemon { return l.proc }
func (l *lbd) close() error    { return l.proc.stop() }

// steps reads how long lbd's own steps have taken so far.
func (l *lbd) steps(ctx context.Context) (stepTimes, error) {
	text, err := get(ctx, l.status, "/metrics")
	if err != nil {
		return nil, fmt.Errorf("read steps of lbd: %w", err)
	}
	return parseSteps(text), nil
}
