package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/pool"
)

// sentinel is a real Redis Sentinel that watches the site's Redis and one replica of it.
type sentinel struct {
	*servers.Program
	addr   string
	master string // the name it is known by
	first  string // address of the first master
	client *redis.SentinelClient
}

func (s *Site) startSentinel() error {
	replica, err := servers.StartRedis(s.ctx, servers.RedisOptions{Dir: filepath.Join(s.dir, "replica")})
	if err != nil {
		return err
	}
	s.atEnd(replica.Kill)
	c := redis.NewClient(&redis.Options{Addr: replica.Addr()})
	defer c.Close()
	if err := s.tell(func(s *Site) { s.must(follow(s, c, s.redis)) }); err != nil {
		return err
	}
	port, err := servers.FreePort()
	if err != nil {
		return err
	}
	w := &sentinel{addr: servers.Loopback(port), master: "site", first: s.redis.Addr()}
	host, masterPort := splitAddr(s.redis.Addr())
	conf := filepath.Join(s.dir, "sentinel", "sentinel.conf")
	err = write(conf, fmt.Sprintf("bind 127.0.0.1\nport %d\nsentinel monitor %s %s %s 1\nsentinel down-after-milliseconds %s 1000\nsentinel failover-timeout %s 5000\n",
		port, w.master, host, masterPort, w.master, w.master))
	if err != nil {
		return err
	}
	if w.Program, err = servers.StartProgram(filepath.Dir(conf), "redis-sentinel", conf); err != nil {
		return err
	}
	s.atEnd(w.Kill)
	w.client = redis.NewSentinelClient(&redis.Options{Addr: w.addr})
	s.atEnd(w.client.Close)
	s.sentinel = w
	s.rdb = redis.NewFailoverClient(&redis.FailoverOptions{MasterName: w.master, SentinelAddrs: []string{w.addr}})
	s.atEnd(s.rdb.Close)
	// A Sentinel that does not know of the replica yet has nobody to promote.
	return s.tell(func(s *Site) {
		s.wait(20*time.Second, func() error {
			known, err := w.client.Replicas(s.ctx, w.master).Result()
			if err == nil && len(known) == 0 {
				err = errors.New("the sentinel knows of no replica")
			}
			return err
		})
	})
}

// promoted returns nil once another Redis is master.
func (w *sentinel) promoted(ctx context.Context) error {
	addr, err := w.client.GetMasterAddrByName(ctx, w.master).Result()
	if err == nil && net.JoinHostPort(addr[0], addr[1]) == w.first {
		err = errors.New("the sentinel has promoted nobody yet")
	}
	return err
}

// moveOperator has the operator's tools use the Redis at addr from now on.
func (s *Site) moveOperator(addr string) (err error) {
	s.rdb = redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1})
	s.atEnd(s.rdb.Close)
	if s.pool, err = pool.Open(s.redisConfig(addr)); err == nil {
		s.atEnd(s.pool.Close)
	}
	return err
}

func splitAddr(addr string) (host, port string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		panic(err) // an address that a listener gave
	}
	return host, port
}

func contains(text, part string) error {
	if !strings.Contains(text, part) {
		return fmt.Errorf("no %q in %.300q", part, text)
	}
	return nil
}
