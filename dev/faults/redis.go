package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// soon bounds a return to normal after which lbd has only to look, to test and to reload once; the heartbeats of all
// agents have to come first where Redis lost them.
const soon = beatTTL + 5*time.Second

// persistent is a Redis that keeps what it has over a crash.
var persistent = []string{"--appendonly", "yes", "--appendfsync", "always"}

// redisRows are faults of Redis itself. Whatever it is, the last good set stays; afterwards
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
		Name:      "redis: kill -9, restart empty, real agents",
		Short:     true,
		ShortLive: onlyResolve,
		Does:      "the same with bin/bbagent on each node, Redis away for 2 s",
		MustHold:  "the last good set is served all the time; the agents register again",
		Setup:     Setup{Agents: true},
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
		Does:     "everybody is sent to a replica that got nothing for longer than a heartbeat lives; a node was frozen meanwhile",
		MustHold: "the last good set is served all the time; the node is frozen again with its next heartbeat, and gets no traffic (after a lag shorter than a heartbeat lives it would, until that heartbeat); revisions do not run backwards: a freeze is acked at once",
		Run: func(s *Site) {
			replica := s.startReplica()
			s.promote(replica)
			s.pause(beatTTL - 2*beatEvery)
			s.freeze("web5")
			s.converges(time.Now(), soon, s.but("web5")...)
			s.serves(2*beatEvery, s.but("web5")...) // its agent hears of it with a heartbeat
			untouched := s.untouched()
			failedOver := time.Now()
			s.switchTo(replica)
			s.wait(2*beatEvery, func() error { return s.frozen("web5") })
			s.converges(failedOver, soon, s.but("web5")...)
			s.serves(2*beatEvery, s.but("web5")...)
			untouched()
			s.unfreeze("web5")
			s.converges(time.Now(), soon, s.all()...)
			s.worksOn()
		},
	}, {
		Name:     "redis: failover to a replica that nobody promotes",
		Does:     "everybody is sent to a replica: READONLY to every write for 3 heartbeat TTLs; then it is promoted",
		MustHold: "the last good set is served all the time, and lbd says why",
		Run: func(s *Site) {
			replica := s.startReplica()
			untouched := s.untouched()
			s.switchTo(replica)
			s.says(soon, "READONLY")
			s.serves(3*beatTTL, s.all()...)
			promoted := time.Now()
			s.promote(replica)
			s.converges(promoted, soon, s.all()...)
			s.serves(2*beatEvery, s.all()...)
			untouched()
			s.worksOn()
		},
	}, {
		Name:     "redis: Sentinel failover",
		Short:    true,
		Does:     "the master is killed, three real Sentinels make the replica master",
		MustHold: "the last good set is served all the time; a freeze after it arrives",
		Setup:    Setup{Sentinel: true},
		Run: func(s *Site) {
			untouched := s.untouched()
			s.must(s.sentinels.DownAfter(time.Second))
			s.must(s.redis.Kill())
			killed := time.Now()
			s.wait(90*time.Second, s.promoted) // Sentinels that stood still believe nobody for 30 s
			s.converges(killed, 30*time.Second, s.all()...)
			s.serves(2*beatEvery, s.all()...)
			untouched()
			s.worksOn()
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
	}, {
		Name:     "redis: a save fails",
		Does:     "its snapshot can't be saved: MISCONF to every write, and to PING, for 3 heartbeat TTLs; then it can",
		MustHold: "the last good set is served all the time, and lbd says why",
		Run: func(s *Site) {
			inItsPlace := filepath.Join(s.dir, "redis", "dump.rdb") // a folder, over which no file can be renamed
			s.must(os.Mkdir(inItsPlace, 0o755))
			s.redisDo("CONFIG", "SET", "save", "3600 1")
			untouched := s.untouched()
			s.save("err")
			s.says(soon, "MISCONF")
			s.serves(3*beatTTL, s.all()...)
			s.must(os.Remove(inItsPlace))
			s.save("ok")
			s.converges(time.Now(), soon, s.all()...)
			untouched()
			s.worksOn()
		},
	}}
}

// frozen returns nil if an operator's freeze is on the node.
func (s *Site) frozen(id string) error {
	n, err := s.pool.Node(s.ctx, id)
	if err == nil && n.Freeze == nil {
		err = fmt.Errorf("%s is %s: its freeze is lost", id, n.State())
	}
	return err
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

// save has Redis save a snapshot, and waits until that has ended as it should.
func (s *Site) save(ends string) {
	s.redisDo("BGSAVE")
	s.wait(soon, func() error {
		said, err := s.redis.Do("INFO", "persistence")
		return errors.Join(err, contains(said, "rdb_bgsave_in_progress:0"), contains(said, "rdb_last_bgsave_status:"+ends))
	})
}
