package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/pool"
)

// haproxy is HAProxy with its runtime API, as an operator would set it up for the same nodes: all servers named in the
// configuration, and a small program beside it that hears lbd's events from Redis and says `set server … state drain` or
// `ready` on the stats socket. That program ([follow]) believes the event and asks Redis nothing more: the least that
// such a program can do. What lbd does besides (a look at the pool, addresses, a guard, proof, ack) it does not.
type haproxy struct {
	pool *pool.Pool
	proc *daemon // the small program
}

// haproxyFront is the HAProxy itself.
type haproxyFront struct {
	*daemon
	listen string
}

func (h haproxyFront) addr() string { return h.listen }
func (h haproxyFront) version() string {
	said, _ := output(h.cmd.Path, "-v") // "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/"
	_, version, _ := strings.Cut(said, "version ")
	version, _, _ = strings.Cut(version, "-") // what follows is the distributor's
	return "HAProxy " + version
}

func (h haproxyFront) unsettled(context.Context) (string, error) { return "", nil }
func (h haproxyFront) tree() ([]int, error)                      { return []int{h.cmd.Process.Pid}, nil }

// haproxyConf is what the nginx.conf of the others says in HAProxy's words: two threads, keep-alive on both sides,
// least connections.
const haproxyConf = `global
    nbthread %d
    maxconn 8192
    stats socket %s mode 600 level admin

defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s

frontend web
    bind %s
    default_backend app_backend

backend app_backend
    balance leastconn
`

func startHAProxy(binary string) starter {
	return func(ctx context.Context, s *site, name string) (front, contender, error) {
		port, err := servers.FreePort()
		if err != nil {
			return nil, nil, err
		}
		dir := filepath.Join(s.dir, name)
		socket := filepath.Join(dir, "stats.sock")
		f := haproxyFront{listen: servers.Loopback(port)}
		var conf strings.Builder
		fmt.Fprintf(&conf, haproxyConf, workers, socket, f.listen)
		for _, n := range s.nodes {
			fmt.Fprintf(&conf, "    server %s %s\n", n.ID(), n.Addr())
		}
		file := filepath.Join(dir, "haproxy.cfg")
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(file, []byte(conf.String()), 0o644)); err != nil {
			return nil, nil, err
		}
		if f.daemon, err = startDaemon(dir, binary, "-db", "-f", file); err != nil {
			return nil, nil, err
		}
		s.atEnd(f.stop)
		if err := f.awaitReady(ctx, func() error { _, err := tell(socket, "show info"); return err }); err != nil {
			return nil, nil, err
		}
		h := &haproxy{}
		if h.pool, err = s.fleet(ctx, name); err != nil {
			return nil, nil, err
		}
		self, err := os.Executable()
		if err != nil {
			return nil, nil, err
		}
		if h.proc, err = startDaemon(dir, self, follower, socket, s.redis.URL(), name); err != nil {
			return nil, nil, err
		}
		return f, h, h.proc.awaitReady(ctx, func() error {
			if !strings.Contains(h.proc.tail(), following) {
				return errors.New("it does not follow the pool yet")
			}
			return nil
		})
	}
}

func (h *haproxy) freeze(ctx context.Context, node string) error { return freeze(ctx, h.pool, node) }
func (h *haproxy) unfreeze(ctx context.Context, node string) error {
	return unfreeze(ctx, h.pool, node)
}
func (h *haproxy) daemon() *daemon                          { return h.proc }
func (h *haproxy) steps(context.Context) (stepTimes, error) { return nil, nil }
func (h *haproxy) close() error                             { return h.proc.stop() }
