package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/dev/servers"
)

const (
	rate    = 150 // requests a second to each of the two Nginxes
	conns   = 8   // keep-alive connections
	perConn = 100 // requests on one connection, then Nginx closes it in order: so there are new ones all the time
	workers = 2
)

// web is one Nginx and its clients.
type web struct {
	*servers.Nginx
	tries string // its log: who was tried, for each request

	gen    *load.Generator
	begun  load.Counts // when the row began
	tried  int64       // the same of repeated
	stop   context.CancelFunc
	ended  sync.WaitGroup
	failed error // why the load could not be sent
}

// startWeb starts an Nginx below dir that passes everything to the upstream app_backend. Its pid file is in run/, which
// a reboot would empty.
func startWeb(ctx context.Context, build servers.NginxOptions, dir string, files map[string]string) (*web, error) {
	port, err := servers.FreePort()
	if err != nil {
		return nil, err
	}
	opts := build
	opts.Dir, opts.Listen, opts.Workers, opts.Files = dir, []string{servers.Loopback(port)}, workers, maps.Clone(files)
	if opts.Files == nil {
		opts.Files = map[string]string{}
	}
	opts.Files["run/about"] = "What a reboot empties.\n"
	opts.Files["conf.d/about"] = "What lbd writes to.\n"
	if _, ours := opts.Files["conf.d/upstream.conf"]; !ours {
		opts.Files["conf.d/upstream.conf"] = "upstream app_backend { server 127.0.0.1:9 down; }\n"
	}
	opts.Conf = conf(opts)
	w := &web{tries: filepath.Join(dir, "tries.log")}
	if w.Nginx, err = servers.StartNginx(ctx, opts); err != nil {
		return nil, err
	}
	return w, nil
}

// conf is the plain site's nginx.conf with a log of who was tried for each request, and with clients that come and go.
func conf(opts servers.NginxOptions) string {
	return strings.NewReplacer(
		"access_log off;", fmt.Sprintf("log_format tries '$status $upstream_addr';\n    access_log tries.log tries;\n    keepalive_requests %d;", perConn),
		"pid nginx.pid;", "pid run/nginx.pid;",
		"proxy_http_version 1.1;", "proxy_connect_timeout 1s;\n            proxy_http_version 1.1;",
	).Replace(servers.DefaultConf(opts))
}

// send starts the traffic.
func (w *web) send(ctx context.Context) (err error) {
	w.gen, err = load.New(load.Options{URL: "http://" + w.Listen[0] + "/", Rate: rate, Conns: conns})
	if err != nil {
		return err
	}
	ctx, w.stop = context.WithCancel(ctx)
	w.ended.Go(func() { _, w.failed = w.gen.Run(ctx) })
	return nil
}

// end ends the traffic.
func (w *web) end() error {
	if w.stop == nil {
		return nil
	}
	w.stop()
	w.ended.Wait()
	return w.failed
}

// begin leaves out of the figures what was before.
func (w *web) begin() (err error) {
	w.begun = w.gen.Counts()
	w.tried, err = w.repeated()
	return err
}

// counts is what became of requests since the row began.
func (w *web) counts() load.Counts { return w.gen.Counts().Sub(w.begun) }

// lost is how many of them had no good answer.
func (w *web) lost() int64 { c := w.counts(); return c.Failed + c.Dropped }

// repeated counts the requests that Nginx had to try at another node since the row began: its log has all addresses of
// each.
func (w *web) repeated() (int64, error) {
	text, err := os.ReadFile(w.tries)
	return int64(strings.Count(string(text), ", ")) - w.tried, err
}

// file is what lbd keeps, and what nobody changes at the control.
func (w *web) file() string { return filepath.Join(w.Prefix, "conf.d/upstream.conf") }

// errOthers says who answered though nobody of them should have.
type errOthers struct{ got, want []string }

func (e *errOthers) Error() string { return fmt.Sprintf("%v answer, want %v", e.got, e.want) }

// answer reports whether all of these nodes, and no other, have answered since the counts before were taken.
func (w *web) answer(before load.Counts, ids []string) error {
	const enough = 3 // answers of each
	since := w.gen.Counts().Sub(before).ByNode
	got := slices.Sorted(maps.Keys(since))
	for _, id := range got {
		if !slices.Contains(ids, id) {
			return &errOthers{got, ids}
		}
	}
	for _, id := range ids {
		if since[id] < enough {
			return fmt.Errorf("%s has answered %d requests of %v", id, since[id], since)
		}
	}
	return nil
}

// both does something to lbd's Nginx and to the control at once.
func (s *Site) both(do func(*web) error) {
	var errs [2]error
	var at sync.WaitGroup
	for i, w := range []*web{s.lb, s.control} {
		at.Go(func() { errs[i] = do(w) })
	}
	at.Wait()
	s.must(errors.Join(errs[:]...))
}
