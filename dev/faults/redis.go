package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/bazbeans/bazbeans/dev/servers"
)

// soon bounds a return to normal after which lbd has only to look, to test and to reload once; the heartbeats of all
// agents have to come first where Redis lost them.
const soon = beatTTL + 5*time.Second

// persistent is a Redis that keeps what it has over a crash.
var persistent = []string{"--appendonly", "yes", "--appendfsync", "always"}

// redisRows are faults of Redis and of the network before it. Whatever it is, the last good set stays; afterwards
// everything goes on by itself, which a freeze shows.
func redisRows() []Row {
	return []Row{{
		Name:     "redis: stands still",
		Short:    true,
		Does:     "SIGSTOP for 60 s (12 s in a short run), then SIGCONT: no connection breaks, and every heartbeat has ended when it goes on",
		MustHold: "the last good set is served all the time",
		Run: func(s *Site) {
			untouched := s.untouched()
			s.must(s.redis.Pause())
			s.serves(s.long(60*time.Second, 12*time.Second), s.all()...)
			s.must(s.redis.Resume())
			wentOn := time.Now()
			s.converges(wentOn, soon, s.all()...)
			s.serves(2*beatEvery, s.all()...)
			untouched()
			s.worksOn()
		},
	}, {
		Name:     "redis: kill -9, restart with its data",
		Does:     "Redis is killed and comes back after longer than a heartbeat lives, with what it had",
		MustHold: "the last good set is served all the time; a frozen node stays frozen",
		Setup:    Setup{Redis: persistent},
		Run: func(s *Site) {
			s.freeze("web5")
			s.converges(time.Now(), soon, s.but("web5")...)
			s.killRedis(s.long(3*beatTTL, beatTTL+time.Second), s.but("web5")...)
			s.unfreeze("web5")
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:     "redis: kill -9, restart empty",
		Does:     "Redis is killed and comes back after longer than a heartbeat lives, with nothing",
		MustHold: "the last good set is served all the time; the agents register again",
		Run: func(s *Site) {
			s.killRedis(s.long(3*beatTTL, beatTTL+time.Second), s.all()...)
		},
	}, {
		Name:     "redis: kill -9, restart empty, real agents",
		Short:    true,
		Does:     "the same with bin/bbagent on each node, Redis away for 2 s",
		MustHold: "the last good set is served all the time; the agents register again",
		Setup:    Setup{Agents: true},
		Run: func(s *Site) {
			s.killRedis(2*time.Second, s.all()...)
		},
	}, {
		Name:     "redis: FLUSHALL",
		Short:    true,
		Does:     "somebody flushes it, three times, a second apart",
		MustHold: "the last good set is served all the time; the agents register again",
		Run:      (*Site).flushed,
	}, {
		Name:     "redis: FLUSHALL while all agents are away",
		Does:     "it is flushed, and no agent comes back before 3 guard holds have passed; lbd is restarted meanwhile",
		MustHold: "the empty set never replaces the good one, and lbd says that it is held",
		Run: func(s *Site) {
			untouched := s.untouched()
			s.agents(s.all(), (*node).endAgent)
			s.redisDo("FLUSHALL")
			s.held(soon, len(s.nodes))
			s.serves(hold, s.all()...)
			s.must(s.lbd.Stop())
			s.must(s.lbd.start())
			s.held(soon, len(s.nodes))
			s.serves(s.long(2*hold, hold/2), s.all()...)
			untouched()
			s.agents(s.all(), func(n *node) error { return n.startAgent(s.ctx) })
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:     "redis: failover to a lagging replica",
		Does:     "everybody is sent to a replica that got nothing for longer than a heartbeat lives",
		MustHold: "the last good set is served all the time; revisions do not run backwards: a freeze is acked at once",
		Run: func(s *Site) {
			replica := s.startReplica()
			lagging := redis.NewClient(&redis.Options{Addr: replica.Addr()})
			s.atEnd(lagging.Close)
			s.must(lagging.ReplicaOf(s.ctx, "NO", "ONE").Err()) // from here on it hears nothing
			s.pause(beatTTL + 500*time.Millisecond)
			untouched := s.untouched()
			failedOver := time.Now()
			s.switchTo(replica)
			s.converges(failedOver, soon, s.all()...)
			s.serves(2*beatEvery, s.all()...)
			untouched()
			s.worksOn()
		},
	}, {
		Name:     "redis: Sentinel failover",
		Short:    true,
		Does:     "the master is killed, a real Sentinel makes the replica master",
		MustHold: "the last good set is served all the time; a freeze after it arrives",
		Setup:    Setup{Sentinel: true},
		Run: func(s *Site) {
			untouched := s.untouched()
			s.must(s.redis.Kill())
			killed := time.Now()
			s.wait(30*time.Second, func() error { return s.sentinel.promoted(s.ctx) })
			s.converges(killed, 30*time.Second, s.all()...)
			s.serves(2*beatEvery, s.all()...)
			untouched()
			s.worksOn()
		},
	}, {
		Name:     "redis: every answer 500 ms late",
		Does:     "for 20 s (8 s in a short run), for lbd and all agents; a node is frozen and unfrozen meanwhile",
		MustHold: "no node is lost; the freeze arrives all the same, within 8 s",
		Run: func(s *Site) {
			s.eachProxy(func(p *Proxy) error { p.Delay(500 * time.Millisecond); return nil })
			s.serves(s.long(12*time.Second, 4*time.Second), s.all()...)
			s.freeze("web1")
			s.converges(time.Now(), 8*time.Second, s.but("web1")...)
			s.unfreeze("web1")
			s.converges(time.Now(), 8*time.Second, s.all()...)
			s.eachProxy((*Proxy).Heal)
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:     "redis: slow line",
		Does:     "2 kB/s on each connection of lbd: a look takes more than a second; a node is frozen meanwhile",
		MustHold: "no node is lost; the freeze arrives all the same, within 15 s",
		Run: func(s *Site) {
			s.proxy.Limit(2000)
			s.serves(4*time.Second, s.all()...)
			s.freeze("web1")
			s.converges(time.Now(), 15*time.Second, s.but("web1")...)
			s.must(s.proxy.Heal())
			s.unfreeze("web1")
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:     "redis: connections cut",
		Short:    true,
		Does:     "every connection is reset each 300 ms, for 10 s (4 s in a short run), lbd's and the agents'",
		MustHold: "the last good set is served all the time",
		Run: func(s *Site) {
			untouched := s.untouched()
			for range s.times(33, 13) {
				s.eachProxy(func(p *Proxy) error { p.Cut(); return nil })
				s.serves(300*time.Millisecond, s.all()...)
			}
			s.converges(time.Now(), soon, s.all()...)
			untouched()
			s.worksOn()
		},
	}, {
		Name:     "redis: half-open connections",
		Does:     "lbd's connections swallow every byte and are never closed, as behind a firewall that forgot them; a node is frozen",
		MustHold: "lbd notices and connects again: the freeze arrives within 10 s",
		Run: func(s *Site) {
			s.proxy.Swallow()
			s.freeze("web1")
			s.converges(time.Now(), 10*time.Second, s.but("web1")...)
			s.unfreeze("web1")
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:     "redis: refuses lbd",
		Does:     "its port refuses lbd, for two heartbeat TTLs; a node is frozen meanwhile",
		MustHold: "the last good set is served; /status says so; the freeze arrives when Redis is back",
		Run: func(s *Site) {
			s.must(s.proxy.Refuse())
			s.freeze("web1")
			s.says(soon, "redis at "+s.proxy.Addr())
			s.serves(2*beatTTL, s.all()...)
			s.must(s.proxy.Heal())
			s.converges(time.Now(), soon, s.but("web1")...)
			s.unfreeze("web1")
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:     "redis: memory full",
		Short:    true,
		Does:     "maxmemory is reached and nothing may be evicted: no heartbeat is written for 3 TTLs",
		MustHold: "the last good set is served all the time",
		Run: func(s *Site) {
			s.redisDo("CONFIG", "SET", "maxmemory-policy", "noeviction")
			s.redisDo("CONFIG", "SET", "maxmemory", "1")
			untouched := s.untouched()
			s.serves(3*beatTTL, s.all()...)
			s.redisDo("CONFIG", "SET", "maxmemory", "0")
			s.converges(time.Now(), soon, s.all()...)
			untouched()
			s.worksOn()
		},
	}}
}

// worksOn freezes a node and puts it back: events, looks and acks do their work.
func (s *Site) worksOn() {
	s.freeze("web1")
	s.converges(time.Now(), soon, s.but("web1")...)
	s.unfreeze("web1")
	s.converges(time.Now(), soon, s.all()...)
}

// flushed flushes Redis again and again, and wants that nothing moves.
func (s *Site) flushed() {
	untouched := s.untouched()
	for range 3 {
		s.redisDo("FLUSHALL")
		s.serves(time.Second, s.all()...)
	}
	s.converges(time.Now(), soon, s.all()...)
	untouched()
	s.worksOn()
}

// killRedis kills Redis, starts it again after a while, and wants that nothing moves meanwhile nor afterwards.
func (s *Site) killRedis(away time.Duration, serving ...string) {
	untouched := s.untouched()
	s.must(s.redis.Kill())
	s.serves(away, serving...)
	s.says(soon, `"connected": false`)
	s.must(s.redis.Restart(s.ctx))
	back := time.Now()
	s.converges(back, soon, serving...)
	s.serves(2*beatEvery, serving...)
	untouched()
}

// eachProxy does something to lbd's and all agents' ways to Redis.
func (s *Site) eachProxy(do func(*Proxy) error) {
	s.must(do(s.proxy))
	s.agents(s.all(), func(n *node) error { return do(n.redis) })
}

// startReplica starts a replica of the site's Redis and waits until it has everything.
func (s *Site) startReplica() *servers.Redis {
	replica, err := servers.StartRedis(s.ctx, servers.RedisOptions{Dir: filepath.Join(s.dir, "replica")})
	s.must(err)
	s.atEnd(replica.Kill)
	c := redis.NewClient(&redis.Options{Addr: replica.Addr()})
	defer c.Close()
	s.must(follow(s, c, s.redis))
	return replica
}

// switchTo sends everybody to another Redis, as a failover does that moves an address.
func (s *Site) switchTo(r *servers.Redis) {
	s.eachProxy(func(p *Proxy) error { p.Target(r.Addr()); return nil })
	s.must(s.moveOperator(r.Addr()))
}

// follow has a Redis replicate the master, and returns when it is in step.
func follow(s *Site, replica *redis.Client, master *servers.Redis) error {
	host, port := splitAddr(master.Addr())
	if err := replica.ReplicaOf(s.ctx, host, port).Err(); err != nil {
		return fmt.Errorf("replicate: %w", err)
	}
	s.wait(20*time.Second, func() error {
		return contains(replica.Info(s.ctx, "replication").Val(), "master_link_status:up")
	})
	return nil
}
