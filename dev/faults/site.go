package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/pool"
)

// Site is what a fault is done to: Redis, nodes with their agents, an Nginx that lbd keeps, the control, and traffic
// to both of these. lbd and each agent reach Redis through a proxy of their own. Its methods, in words.go and beside
// the rows, are the words that rows are told in; a word that does not hold ends the row.
type Site struct {
	ctx    context.Context
	opts   options
	setup  Setup
	engine string // how lbd's changes go into Nginx
	dir    string
	keep   bool // the folder

	redis     *servers.Redis
	sentinels *servers.Sentinels    // nil unless the row asks for them
	proxy     *Proxy                // between lbd and Redis; nil with Sentinels
	rdb       redis.UniversalClient // straight to Redis
	pool      *pool.Pool            // the operator's, straight to Redis
	nodes     []*node
	dns       *nameServer // nil unless the row asks for it

	lb      *web // the Nginx that lbd keeps
	control *web
	lbd     *balancer

	shadow   sync.WaitGroup // reloads the control
	unshadow context.CancelFunc
	reloads  int64        // of lbd's Nginx; read after unshadow
	operator atomic.Int64 // of these: the operator's own

	converged float64 // seconds, the longest of the row
	wrong     error
	closers   []func() error
	ending    sync.Mutex // for atEnd from two goroutines
}

// startSite starts a site and returns when both Nginxes send to all nodes. The site is there to be closed also beside
// an error.
func startSite(ctx context.Context, o options, engine string, setup Setup) (*Site, error) {
	if setup.Nodes == 0 {
		setup.Nodes = 5
	}
	s := &Site{ctx: ctx, opts: o, engine: engine, setup: setup}
	return s, s.start()
}

func (s *Site) start() (err error) {
	// A short path: a unix socket's may have 107 bytes.
	if s.dir, err = os.MkdirTemp("", "bbf"); err != nil {
		return err
	}
	for name, text := range s.setup.Files {
		if err := write(filepath.Join(s.dir, name), text); err != nil {
			return err
		}
	}
	if err := s.startRedis(); err != nil {
		return err
	}
	for i := range s.setup.Nodes {
		if _, err := s.addNode(i + 1); err != nil {
			return err
		}
	}
	if err := s.startWebs(); err != nil {
		return err
	}
	if s.setup.DNS {
		if s.dns, err = startNameServer(); err != nil {
			return err
		}
		s.atEnd(s.dns.close)
		s.setup.Config = strings.ReplaceAll(s.setup.Config, "SITE_DNS", s.dns.addr)
	}
	if s.lbd, err = s.newBalancer("lb1", "lbd", s.lb); err != nil {
		return err
	}
	if err := s.lbd.start(); err != nil {
		return err
	}
	s.atEnd(func() error { return s.lbd.end() })
	for _, w := range []*web{s.lb, s.control} {
		if err := w.send(s.ctx); err != nil {
			return err
		}
		s.atEnd(w.end)
	}
	if err := s.tell(func(s *Site) { s.converges(time.Now(), 20*time.Second, s.all()...) }); err != nil {
		return fmt.Errorf("the site does not come up: %w", err)
	}
	s.converged = 0
	s.follow()
	return errors.Join(s.lb.begin(), s.control.begin())
}

// startWebs starts both Nginxes; the control has all nodes.
func (s *Site) startWebs() (err error) {
	for _, name := range s.setup.Mounts {
		if err := s.mount(filepath.Join(s.dir, "lb", name)); err != nil {
			return err
		}
	}
	build, err := s.build(s.ctx)
	if err != nil {
		return err
	}
	if s.lb, err = startWeb(s.ctx, build, filepath.Join(s.dir, "lb"), nil); err != nil {
		return err
	}
	s.atEnd(s.lb.Kill)
	var servers strings.Builder
	for _, n := range s.nodes {
		fmt.Fprintf(&servers, "    server %s max_fails=1 fail_timeout=10s;\n", n.app.Addr())
	}
	fixed := "upstream app_backend {\n    zone app_backend 256k;\n    least_conn;\n" + servers.String() + "    keepalive 32;\n}\n"
	if s.control, err = startWeb(s.ctx, build, filepath.Join(s.dir, "control"), map[string]string{"conf.d/upstream.conf": fixed}); err != nil {
		return err
	}
	s.atEnd(s.control.Kill)
	return nil
}

// reloadBy is `reload` of lbd.yaml.
func (s *Site) reloadBy() string {
	if s.setup.Reload == "" {
		return "signal"
	}
	return strings.ReplaceAll(s.setup.Reload, "SITE", s.dir)
}

func (s *Site) bin(name string) string { return filepath.Join(s.opts.bin, name) }

// follow gives the control a bare reload for each one that lbd's Nginx has.
func (s *Site) follow() {
	ctx, cancel := context.WithCancel(s.ctx)
	s.unshadow = cancel
	seen := reconfigured(s.lb.ErrorLog)
	s.shadow.Go(func() {
		for ctx.Err() == nil {
			now := reconfigured(s.lb.ErrorLog)
			if now > seen {
				s.control.reload()
			}
			s.reloads += now - seen
			seen = now
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	s.atEnd(func() error { s.unfollow(); return nil })
}

func (s *Site) unfollow() {
	s.unshadow()
	s.shadow.Wait()
}

// reconfigured counts the reloads that an error log tells of.
func reconfigured(log string) int64 {
	text, err := os.ReadFile(log)
	if err != nil {
		return 0 // nothing has happened yet
	}
	return int64(bytes.Count(text, []byte(": reconfiguring")))
}

// count ends the traffic and notes what it came to.
func (s *Site) count(res *Result) (err error) {
	s.unfollow()
	err = errors.Join(s.lb.end(), s.control.end())
	counts := s.lb.counts()
	res.Requests, res.Reasons = counts.Sent, counts.ByReason
	res.Failed, res.Control = s.lb.lost(), s.control.lost()
	res.Reloads, res.Converge = s.reloads, s.converged
	repeated, err2 := s.lb.repeated()
	res.Repeated = repeated
	return errors.Join(err, err2)
}

// state is what to look at when a row has failed.
func (s *Site) state() string {
	if s.lbd == nil || s.lbd.Program == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 2*time.Second)
	defer cancel()
	st, err := s.lbd.status(ctx)
	st.Nodes, st.Quarantined = nil, st.Quarantined[:min(len(st.Quarantined), 5)]
	status, _ := json.MarshalIndent(st, "", "  ") // it was JSON
	if err != nil {
		status = []byte(err.Error())
	}
	served, err := s.served()
	return fmt.Sprintf("lbd said:\n%s\n/status, without nodes:\n%s\n%s has %s (%v)\nits nginx said:\n%s\n",
		s.lbd.LogTail(), status, s.lb.file(), few(served), err, s.lb.LogTail())
}

// mount puts a small file system of its own on a folder.
func (s *Site) mount(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=755"); err != nil {
		return fmt.Errorf("%w: a small disk needs root's right to mount: %w", errCannot, err)
	}
	s.atEnd(func() error { return syscall.Unmount(dir, syscall.MNT_DETACH) })
	return nil
}

func write(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}
