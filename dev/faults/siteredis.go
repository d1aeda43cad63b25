package main

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/pool"
)

// startRedis starts the site's Redis and opens the ways to it: lbd's, which is a proxy, and the operator's.
func (s *Site) startRedis() (err error) {
	if s.setup.Sentinel {
		err = s.startSentinels()
	} else {
		err = s.startOneRedis()
	}
	if err != nil {
		return err
	}
	s.atEnd(s.rdb.Close)
	if s.pool, err = pool.Open(s.redisConfig(s.redis.Addr())); err == nil {
		s.atEnd(s.pool.Close)
	}
	return err
}

func (s *Site) startOneRedis() (err error) {
	if s.redis, err = servers.StartRedis(s.ctx, servers.RedisOptions{Dir: filepath.Join(s.dir, "redis"), Args: s.setup.Redis}); err != nil {
		return err
	}
	s.atEnd(s.redis.Kill)
	if s.proxy, err = NewProxy(s.redis.Addr()); err != nil {
		return err
	}
	s.atEnd(s.proxy.Close)
	s.rdb = redis.NewClient(&redis.Options{Addr: s.redis.Addr(), MaxRetries: -1})
	return nil
}

// startSentinels starts a master with a replica, and real Sentinels that watch them.
func (s *Site) startSentinels() (err error) {
	if s.sentinels, err = servers.StartSentinels(s.ctx, servers.SentinelOptions{Dir: s.dir}); err != nil {
		return err
	}
	s.atEnd(s.sentinels.Kill)
	s.redis = s.sentinels.Servers[0]
	s.rdb = redis.NewFailoverClient(&redis.FailoverOptions{MasterName: servers.SentinelMaster, SentinelAddrs: s.sentinels.Addrs()})
	return nil
}

// promoted returns nil once another Redis is master.
func (s *Site) promoted() error {
	master, err := s.sentinels.Master()
	if err == nil && master == s.redis {
		err = errors.New("the sentinels have promoted nobody yet")
	}
	return err
}

// redisConfig is how the pool is reached at addr, or through Sentinel if the site has one.
func (s *Site) redisConfig(addr string) pool.Config {
	if s.sentinels != nil {
		return pool.Config{Sentinel: pool.Sentinel{Master: servers.SentinelMaster, Addrs: s.sentinels.Addrs()}}
	}
	return pool.Config{URL: "redis://" + addr + "/0"}
}

// redisYAML is the same for lbd.yaml.
func (s *Site) redisYAML() string {
	if s.sentinels != nil {
		return fmt.Sprintf("{sentinel: {master: %s, addrs: [%s]}}", servers.SentinelMaster, strings.Join(s.sentinels.Addrs(), ", "))
	}
	return fmt.Sprintf("{url: %q}", s.redisConfig(s.proxy.Addr()).URL)
}

// startReplica starts a replica of the site's Redis and waits until it has everything.
func (s *Site) startReplica() *servers.Redis {
	replica, err := servers.StartRedis(s.ctx, servers.RedisOptions{Dir: filepath.Join(s.dir, "replica"),
		Args: []string{"--replicaof", "127.0.0.1 " + strconv.Itoa(s.redis.Port())}})
	s.must(err)
	s.atEnd(replica.Kill)
	s.wait(20*time.Second, func() error {
		said, err := replica.Do("INFO", "replication")
		return errors.Join(err, contains(said, "master_link_status:up"))
	})
	return replica
}

// promote makes a replica a master. What the old one says it does not hear any more.
func (s *Site) promote(replica *servers.Redis) {
	_, err := replica.Do("REPLICAOF", "NO", "ONE")
	s.must(err)
}

// switchTo sends everybody to another Redis, as a failover does that moves an address.
func (s *Site) switchTo(r *servers.Redis) {
	s.eachProxy(func(p *Proxy) error { p.Target(r.Addr()); return nil })
	s.must(s.moveOperator(r.Addr()))
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
