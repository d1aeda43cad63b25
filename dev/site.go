package dev

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/pool"
)

// Site is a whole site. Its methods are safe for concurrent use once Start has returned.
type Site struct {
	opts    Options
	dir     string
	nodes   []*Node
	client  http.Client // for lbd's status
	failed  chan error
	closing []func() error // what ends the parts that run, in the order of their start
	once    sync.Once
	closed  error

	ports     []*port
	moved     []string // what there is to say of usual ports that were taken
	redisAddr string
	pool      *pool.Pool
	nginx     *servers.Nginx
}

// startWithin bounds each wait during a start; it takes about half a second on a machine that is idle.
const startWithin = 15 * time.Second

// NewSite checks the options. It starts nothing.
func NewSite(opts Options) (*Site, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	s := &Site{opts: opts, failed: make(chan error, 1)}
	s.ports = s.opts.ports()
	return s, nil
}

// Start starts everything, and returns when Nginx is proven to serve all nodes. ctx bounds the start only: what runs
// then goes on until Close. After an error nothing runs.
func (s *Site) Start(ctx context.Context) error {
	err := s.start(ctx)
	if err != nil {
		err = errors.Join(err, s.Close())
	}
	return err
}

func (s *Site) start(ctx context.Context) error {
	s.atClose(func() error { s.release(""); return nil })
	if err := s.claim(); err != nil {
		return err
	}
	if err := s.makeDir(); err != nil {
		return err
	}
	s.release("redis-port")
	addr, stop, err := startRedis(ctx, s.opts.RedisServer, s.opts.RedisPort, s.dir)
	if err != nil {
		return fmt.Errorf("start redis: %w", err)
	}
	s.redisAddr = addr
	s.atClose(stop)
	if s.pool, err = pool.Open(pool.Config{URL: s.RedisURL()}); err != nil {
		return err
	}
	s.atClose(s.pool.Close)

	s.release("http-port")
	s.nginx, err = servers.StartNginx(ctx, servers.NginxOptions{Dir: filepath.Join(s.dir, "nginx"),
		Listen: []string{servers.Loopback(s.opts.HTTPPort)}, Workers: s.opts.Workers})
	if err != nil {
		return err
	}
	s.atClose(s.nginx.Stop)

	s.atClose(s.leave)
	s.release("node-port")
	for i := range s.opts.Nodes {
		n := s.newNode(i + 1)
		if err := n.start(ctx); err != nil {
			return err
		}
		s.nodes = append(s.nodes, n)
	}
	// All of them before lbd's first look, so that Nginx is reloaded once.
	if err := s.until(ctx, "wait for the agents to register", s.registered); err != nil {
		return err
	}
	if err := s.startLBD(ctx); err != nil {
		return err
	}
	return s.until(ctx, "wait for nginx to serve all nodes", s.served)
}

func (s *Site) makeDir() (err error) {
	if s.opts.Dir != "" {
		if s.dir, err = filepath.Abs(s.opts.Dir); err == nil {
			err = os.MkdirAll(s.dir, 0o755)
		}
	} else if s.dir, err = os.MkdirTemp("", "bbdev-"); err == nil {
		s.atClose(func() error { return os.RemoveAll(s.dir) })
	}
	if err != nil {
		return fmt.Errorf("make the site's folder: %w", err)
	}
	return s.openLog()
}

func (s *Site) openLog() error {
	if s.opts.Log != nil {
		return nil
	}
	file, err := os.OpenFile(s.LogFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	s.atClose(file.Close)
	s.opts.Log = slog.New(slog.NewTextHandler(file, &slog.HandlerOptions{Level: s.opts.LogLevel}))
	return nil
}

// until asks every 10 ms until ready returns nil, lbd fails, or it takes too long.
func (s *Site) until(ctx context.Context, what string, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case err := <-s.failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("%s: %w (last: %w)", what, ctx.Err(), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *Site) registered(ctx context.Context) error {
	snap, err := s.pool.Snapshot(ctx)
	if err != nil {
		return err
	}
	missing := len(s.nodes)
	for i := range snap.Nodes {
		if snap.Nodes[i].Registered {
			missing--
		}
	}
	if missing > 0 {
		return fmt.Errorf("%d nodes are missing", missing)
	}
	return nil
}

// atClose adds what Close does; the last comes first.
func (s *Site) atClose(end func() error) { s.closing = append(s.closing, end) }

// Close ends everything in order and returns when nothing is left; a second call does nothing more. lbd ends first:
// it would follow the agents' leave with a reload each. The agents leave while Redis is there to be told, the
// applications close behind them, then Nginx, Redis and the folder go.
func (s *Site) Close() error {
	s.once.Do(func() {
		var errs []error
		for i := len(s.closing) - 1; i >= 0; i-- {
			errs = append(errs, s.closing[i]())
		}
		s.closed = errors.Join(errs...)
	})
	return s.closed
}

func (s *Site) leave() error {
	var g errgroup.Group
	for _, n := range s.nodes {
		g.Go(n.leave)
	}
	return g.Wait()
}

// left says what a site that was closed has left.
func (s *Site) left() string {
	if s.opts.Dir != "" {
		return "all has ended; its files are in " + s.dir
	}
	return "all has ended, nothing is left behind"
}

// Failed gives the error of a part that ended by itself.
func (s *Site) Failed() <-chan error { return s.failed }

// URL is Nginx's.
func (s *Site) URL() string { return "http://" + servers.Loopback(s.opts.HTTPPort) + "/" }

// RedisURL is where the pool is.
func (s *Site) RedisURL() string { return "redis://" + s.redisAddr }

// Pool is the site's pool; Close closes it.
func (s *Site) Pool() *pool.Pool { return s.pool }

// Nginx is the site's Nginx; Close stops it.
func (s *Site) Nginx() *servers.Nginx { return s.nginx }

// Dir is the folder with all of the site's files.
func (s *Site) Dir() string { return s.dir }

// LogFile is where lbd and the agents log to unless Options.Log is set.
func (s *Site) LogFile() string { return filepath.Join(s.dir, "bbdev.log") }

// Nodes are web1, web2 and so on.
func (s *Site) Nodes() []*Node { return s.nodes }

// Node returns the node with that id, nil if there is none.
func (s *Site) Node(id string) *Node {
	for _, n := range s.nodes {
		if n.ID == id {
			return n
		}
	}
	return nil
}

// KillNode ends a node as a power cut does; see [Site.StartNode].
func (s *Site) KillNode(id string) error {
	n := s.Node(id)
	if n == nil {
		return fmt.Errorf("kill node: there is no node %s", id)
	}
	return n.kill()
}

// StartNode starts a node that was killed. It goes on when ctx ends, until Close.
func (s *Site) StartNode(ctx context.Context, id string) error {
	n := s.Node(id)
	if n == nil {
		return fmt.Errorf("start node: there is no node %s", id)
	}
	return n.start(ctx)
}
