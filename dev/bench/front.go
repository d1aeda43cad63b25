package main

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/lbd/nginx"
)

// front is the server that clients connect to: an Nginx, or the HAProxy.
type front interface {
	addr() string    // host:port
	version() string // "nginx 1.22.1"; "" when it does not say
	// unsettled says what a former change has not finished yet, "" when nothing.
	unsettled(ctx context.Context) (string, error)
	// tree are the processes that serve: the first one is the parent of the others.
	tree() ([]int, error)
}

const workers = 2 // of each Nginx, and threads of the HAProxy

// nginxFront is an Nginx with two workers.
type nginxFront struct {
	*servers.Nginx
	eye *nginx.Nginx // only looks: how many workers there are
}

// webOptions say how the Nginx of a lane differs from others.
type webOptions struct {
	binary string            // default: nginx, from PATH
	lua    bool              // load the Lua module
	most   int               // worker_connections; default 1024
	spread bool              // each worker gets as many connections, where chance may give one all of a few that stay open
	files  map[string]string // as in servers.NginxOptions
}

// luaModules are where Debian and Ubuntu install them; this order.
var luaModules = []string{"/usr/lib/nginx/modules/ndk_http_module.so", "/usr/lib/nginx/modules/ngx_http_lua_module.so"}

// startWeb starts an Nginx that proxies everything to app_backend. It ends with the site.
func startWeb(ctx context.Context, s *site, name string, o webOptions) (*nginxFront, error) {
	port, err := servers.FreePort()
	if err != nil {
		return nil, err
	}
	opts := servers.NginxOptions{Binary: o.binary, Dir: filepath.Join(s.dir, name), Workers: workers, Listen: []string{servers.Loopback(port)}}
	if o.lua {
		opts.Modules = luaModules
	}
	opts.Conf = webConf(servers.DefaultConf(opts), o)
	opts.Files = map[string]string{"conf.d/upstream.conf": "upstream app_backend { server 127.0.0.1:9 down; }\n"}
	for file, text := range o.files {
		opts.Files[file] = text
	}
	web, err := servers.StartNginx(ctx, opts)
	if err != nil {
		return nil, err
	}
	s.atEnd(web.Kill)
	eye, err := nginx.New(nginx.Options{Binary: web.Binary, Prefix: web.Prefix, Conf: web.Conf, PID: web.PIDFile, StateDir: opts.Dir})
	return &nginxFront{web, eye}, err
}

// webConf is the usual nginx.conf with what a measurement needs: room for connections, and clients' connections that
// Nginx does not close by itself after 1,000 requests, so that every close has another cause.
func webConf(conf string, o webOptions) string {
	if o.most > 0 {
		conf = strings.Replace(conf, "worker_connections 1024;", fmt.Sprintf("worker_connections %d;", o.most), 1)
	}
	if o.spread {
		conf = listenLine.ReplaceAllString(conf, "$0 reuseport")
	}
	return strings.Replace(conf, "http {\n", "http {\n    keepalive_requests 1000000000;\n", 1)
}

var listenLine = regexp.MustCompile(`(?m)^\s*listen [^;]+`)

func (w *nginxFront) addr() string { return w.Listen[0] }

func (w *nginxFront) version() string {
	said, _ := output(w.Binary, "-v")
	return strings.ReplaceAll(strings.TrimPrefix(said, "nginx version: "), "/", " ")
}

func (w *nginxFront) unsettled(ctx context.Context) (string, error) {
	state, err := w.eye.State(ctx)
	if err != nil || state.Workers == workers && state.Draining == 0 {
		return "", err
	}
	return fmt.Sprintf("nginx has %d workers and %d of former configurations", state.Workers, state.Draining), nil
}

func (w *nginxFront) tree() ([]int, error) { return tree(w.Master()) }

// upstreamFile is the file that a contender writes.
func upstreamFile(web *servers.Nginx) string {
	return filepath.Join(web.Prefix, "conf.d", "upstream.conf")
}

// frontUse is what the processes of a front have used so far, those that have ended included.
func frontUse(f front) (footprint, error) {
	pids, err := f.tree()
	if err != nil {
		return footprint{}, err
	}
	var sum footprint
	for i, pid := range pids {
		u, err := usedBy(pid, i == 0)
		if err != nil {
			continue // it has ended since the list was made: its parent has its figures by the next look
		}
		sum.cpu += u.cpu
		sum.rss += u.rss
	}
	if sum.rss == 0 {
		return footprint{}, fmt.Errorf("process %d has ended", pids[0])
	}
	return sum, nil
}

// replaced is how many processes of before have ended since.
func replaced(before, now []int) int {
	still := map[int]bool{}
	for _, pid := range now {
		still[pid] = true
	}
	n := 0
	for _, pid := range before {
		if !still[pid] {
			n++
		}
	}
	return n
}

// asked waits until a front answers a GET with 200.
func asked(ctx context.Context, addr string) error {
	return await(ctx, func() error { _, err := get(ctx, addr, "/"); return err })
}
