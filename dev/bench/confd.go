package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/bazbeans/bazbeans/dev/servers"
)

// confd watches keys of its own, /upstream/nodes/<id> = address:port in the same Redis: it knows no heartbeats, sets or
// freezes. A freeze deletes the key. It is set up as its documents say, with --watch, which needs the keyspace
// notifications of Redis and confd 0.16 or later.
type confd struct {
	site *site
	rdb  *redis.Client
	proc *daemon
}

const confdKeys = "/upstream/nodes/"

func startConfd(binary string) starter {
	return func(ctx context.Context, s *site, name string) (front, contender, error) {
		w, err := startWeb(ctx, s, name, webOptions{})
		if err != nil {
			return nil, nil, err
		}
		web, dir := w.Nginx, filepath.Join(s.dir, "confd-conf")
		if err := writeConfd(dir, web); err != nil {
			return w, nil, err
		}
		help, err := output(binary, "--help")
		if err != nil && help == "" {
			return w, nil, err
		}
		c := &confd{site: s, rdb: redis.NewClient(&redis.Options{Addr: s.redis.Addr(), DisableIdentity: true})}
		for _, id := range s.ids() {
			if err := c.unfreeze(ctx, id); err != nil {
				return w, c, err
			}
		}
		if c.proc, err = startDaemon(s.dir, confdArgv(binary, help, dir, s.redis.Addr())...); err != nil {
			return w, c, err
		}
		written := func() error {
			text, err := os.ReadFile(upstreamFile(web))
			if have := strings.Count(string(text), "# n"); err == nil && have != len(s.nodes) {
				err = fmt.Errorf("%s has %d of %d nodes", upstreamFile(web), have, len(s.nodes))
			}
			return err
		}
		return w, c, c.proc.awaitReady(ctx, written)
	}
}

// confdArgv knows both command lines: confd 0.16 names the backend by a flag, later ones (github.com/abtreece/confd) by
// a word.
func confdArgv(binary, help, dir, addr string) []string {
	argv := []string{binary, "redis"}
	if regexp.MustCompile(`(?m)^\s+-backend\b`).MatchString(help) {
		argv = []string{binary, "--backend", "redis"}
	}
	return append(argv, "--node", addr, "--confdir", dir, "--watch")
}

// writeConfd writes the template, which makes the same upstream as lbd's, and its resource. A check of the new file
// alone is not possible, since it is a part of the configuration: nginx tests what is on disk, which is the same work.
func writeConfd(dir string, web *servers.Nginx) error {
	command := func(format string, args ...any) string { return fmt.Sprintf("%q", fmt.Sprintf(format, args...)) }
	files := map[string]string{
		"conf.d/upstream.toml": "[template]\nsrc = \"upstream.conf.tmpl\"\ndest = " + command("%s", upstreamFile(web)) +
			"\nmode = \"0644\"\nprefix = \"/upstream\"\nkeys = [\"/nodes\"]" +
			"\ncheck_cmd = " + command("%s -t -p %s -c %s", web.Binary, web.Prefix, web.Conf) +
			"\nreload_cmd = " + command("kill -HUP %d", web.Master()) + "\n",
		"templates/upstream.conf.tmpl": `upstream app_backend {
    zone app_backend 256k;
    least_conn;
{{range gets "/nodes/*"}}
    server {{.Value}}; # {{base .Key}}
{{- end}}

    keepalive 32;
}
`,
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (c *confd) freeze(ctx context.Context, node string) error {
	return c.rdb.Del(ctx, confdKeys+node).Err()
}

func (c *confd) unfreeze(ctx context.Context, node string) error {
	for _, n := range c.site.nodes {
		if n.ID() == node {
			return c.rdb.Set(ctx, confdKeys+node, n.Addr(), 0).Err()
		}
	}
	return fmt.Errorf("no node %s", node)
}

func (c *confd) daemon() *daemon { return c.proc }

func (c *confd) steps(context.Context) (stepTimes, error) { return nil, nil }

func (c *confd) close() error {
	return errors.Join(c.proc.stop(), c.rdb.Close())
}
