package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers"
)

// lbd is the real binary with its default settings, and operators' freezes in Redis.
type lbd struct {
	site   *site
	proc   *daemon
	status string // host:port
}

func startLBD(binary string) starter {
	return func(ctx context.Context, s *site, web *servers.Nginx) (contender, error) {
		port, err := servers.FreePort()
		if err != nil {
			return nil, err
		}
		l := &lbd{site: s, status: servers.Loopback(port)}
		l.proc, err = startDaemon(s.dir, binary,
			"--id", lbID, "--redis-url", s.redis.URL(), "--upstream-file", upstreamFile(web),
			"--nginx-binary", web.Binary, "--nginx-conf", web.Conf, "--nginx-pid", web.PIDFile, "--nginx-prefix", web.Prefix,
			"--state-dir", filepath.Join(s.dir, "lbd-state"), "--status-listen", l.status, "--allow-network", "127.0.0.0/8")
		if err != nil {
			return nil, err
		}
		ready := func() error { _, err := l.get(ctx, "/readyz"); return err }
		if err := l.proc.awaitReady(ctx, ready); err != nil {
			return l, err
		}
		return l, l.sameAsFloor(web)
	}
}

// sameAsFloor makes sure that lbd and the floor have Nginx read the same text.
func (l *lbd) sameAsFloor(web *servers.Nginx) error {
	want, err := rendered(l.site, "")
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

func (l *lbd) freeze(ctx context.Context, node string) error {
	_, err := l.site.pool.Freeze(ctx, node, "bench", "")
	return err
}

func (l *lbd) unfreeze(ctx context.Context, node string) error {
	_, err := l.site.pool.Unfreeze(ctx, node, "bench")
	return err
}

func (l *lbd) daemon() *daemon { return l.proc }
func (l *lbd) close() error    { return l.proc.stop() }

// steps reads how long lbd's own steps have taken so far.
func (l *lbd) steps(ctx context.Context) (stepTimes, error) {
	text, err := l.get(ctx, "/metrics")
	if err != nil {
		return nil, fmt.Errorf("read steps of lbd: %w", err)
	}
	return parseSteps(text), nil
}

// get asks lbd's HTTP.
func (l *lbd) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.status+path, nil)
	if err != nil {
		return nil, err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", path, resp.Status, bytes.TrimSpace(text))
	}
	return text, err
}
