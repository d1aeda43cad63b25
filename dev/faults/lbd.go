package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/lbd"
)

// balancer is an lbd: its settings, and its process while it runs.
type balancer struct {
	id     string
	dir    string // its own folder; the state is below it
	binary string
	listen string // of its HTTP
	names  string // where it answers Nginx's questions, with resolve
	conf   string // lbd.yaml
	*servers.Program
}

// newBalancer writes the settings of an lbd that keeps w.
func (s *Site) newBalancer(id, name string, w *web) (*balancer, error) {
	port, err := servers.FreePort()
	if err != nil {
		return nil, err
	}
	names, err := servers.FreePort()
	if err != nil {
		return nil, err
	}
	b := &balancer{id: id, names: servers.Loopback(names), dir: filepath.Join(s.dir, name), binary: s.bin("lbd"), listen: servers.Loopback(port)}
	for _, d := range []string{"templates", "state"} {
		if err := os.MkdirAll(filepath.Join(b.dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	b.conf = filepath.Join(b.dir, "lbd.yaml")
	upstreams := s.setup.Upstreams
	if upstreams == "" {
		upstreams = "upstreams: [{name: app_backend, output: CONF.D/upstream.conf}]\n"
	}
	text := fmt.Sprintf(`id: %s
redis: %s
nginx: {conf: %q, pid: %q, prefix: %q, reload: %s, binary: %q, %s}
allow_networks: [127.0.0.0/8]
templates: %q
state_dir: %q
status: {listen: %q}
timing: {min_interval: 200ms, resync: %s}
guard: {min_nodes: 1, max_shrink: 50%%, window: %s, hold: %s}
`, id, s.redisYAML(), w.Conf, w.PIDFile, w.Prefix, s.reloadBy(), w.Binary, s.applyBy(b), b.templates(), b.state(), b.listen, resync, window, hold) +
		strings.ReplaceAll(upstreams, "CONF.D", filepath.Join(w.Prefix, "conf.d")) +
		strings.ReplaceAll(s.setup.Config, "SITE", s.dir)
	return b, os.WriteFile(b.conf, []byte(text), 0o600)
}

// applyBy is how changes go into Nginx, in lbd.yaml.
func (s *Site) applyBy(b *balancer) string {
	if s.engine == byReload {
		return "apply: reload"
	}
	return fmt.Sprintf("apply: live, live: %s, names: %q", s.engine, b.names)
}

func (b *balancer) templates() string { return filepath.Join(b.dir, "templates") }
func (b *balancer) state() string     { return filepath.Join(b.dir, "state") }

// start starts lbd.
func (b *balancer) start() (err error) {
	b.Program, err = servers.StartProgram(b.dir, b.binary, "run", "--config", b.conf, "--log-format", "text")
	return err
}

// command runs another command of lbd with the same settings.
func (b *balancer) command(words ...string) error {
	said, err := exec.Command(b.binary, append(words, "--config", b.conf)...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("lbd %s: %w: %s", strings.Join(words, " "), err, said)
	}
	return err
}

// kill9 ends lbd at once, and only lbd: what it has started goes on.
func (b *balancer) kill9() error {
	err := b.Signal(syscall.SIGKILL)
	<-b.Done()
	return err
}

// end is for the end of a row.
func (b *balancer) end() error {
	if b.Program == nil {
		return nil
	}
	return b.Kill()
}

// get asks lbd's HTTP.
func (b *balancer) get(ctx context.Context, path string) (code int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.listen+path, nil)
	if err != nil {
		return 0, nil, err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// status reads /status.
func (b *balancer) status(ctx context.Context) (st lbd.Status, err error) {
	code, body, err := b.get(ctx, "/status")
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("/status answers %d: %s", code, body)
	}
	if err == nil {
		err = json.Unmarshal(body, &st)
	}
	return st, err
}

// ready returns nil when /readyz says so, or what it says.
func (b *balancer) ready(ctx context.Context) error {
	code, body, err := b.get(ctx, "/readyz")
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("/readyz: %s", body)
	}
	return err
}
