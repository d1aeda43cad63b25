package main

import (
	"math/rand/v2"
	"syscall"
	"time"
)

// twoFiles are two upstreams, each in a file of its own: lbd may be killed between two renames.
const twoFiles = "upstreams:\n  - {name: app_backend, output: CONF.D/upstream.conf}\n  - {name: other, output: CONF.D/other.conf}\n"

// lbdRows are faults of lbd itself. Its end changes no traffic, and its start mends what it left behind.
func lbdRows() []Row {
	return []Row{{
		Name:     "lbd: kill -9 in a loop",
		Short:    true,
		Does:     "200 times (30 in a short run): nodes are frozen and unfrozen, lbd of two files is killed at a random moment of what follows and started again",
		MustHold: "after each kill nginx -t passes, after each tenth a fresh Nginx starts; after the last start it serves what is wanted",
		Setup:    Setup{Upstreams: twoFiles},
		Reloads:  -1, // killed between a file and the note of its proof, it reloads at its start
		Run: func(s *Site) {
			for n := range s.times(200, 30) {
				id := s.nodes[rand.N(len(s.nodes)-1)].id
				if n%2 == 0 {
					s.freeze(id)
				} else {
					s.unfreeze(s.all()...)
				}
				s.pause(rand.N(250 * time.Millisecond))
				s.must(s.lbd.kill9())
				s.must(s.testConf())
				if n%10 == 0 {
					s.startsFresh()
				}
				s.must(s.lbd.start())
			}
			s.unfreeze(s.all()...)
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:     "lbd: kill -9 just after its start",
		Short:    true,
		Does:     "50 times (10 in a short run): the pool has changed while lbd was away; it is killed 0 to 150 ms after its start",
		MustHold: "after each kill nginx -t passes; after the last start it serves what is wanted",
		Setup:    Setup{Upstreams: twoFiles},
		Run: func(s *Site) {
			for n := range s.times(50, 10) {
				s.must(s.lbd.kill9())
				s.must(s.testConf())
				if n%2 == 0 {
					s.freeze("web1", "web2")
				} else {
					s.unfreeze("web1", "web2")
				}
				s.must(s.lbd.start())
				s.pause(rand.N(150 * time.Millisecond))
			}
			s.unfreeze("web1", "web2")
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:     "lbd: stopped",
		Does:     "SIGTERM; meanwhile nodes are frozen; lbd is started again 3 s later",
		MustHold: "its end changes no traffic; its start brings what is wanted",
		Run: func(s *Site) {
			untouched := s.untouched()
			s.must(s.lbd.Stop())
			s.freeze("web1")
			s.serves(3*time.Second, s.all()...)
			untouched()
			s.must(s.lbd.start())
			s.converges(time.Now(), soon, s.but("web1")...)
			s.unfreeze("web1")
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:     "lbd: started while Redis is away",
		Does:     "lbd is killed -9, Redis too; lbd starts, Redis comes back empty after two heartbeat TTLs",
		MustHold: "the last good set is served all the time, from lbd's own memory",
		Run: func(s *Site) {
			untouched := s.untouched()
			s.must(s.lbd.kill9())
			s.must(s.redis.Kill())
			s.must(s.lbd.start())
			s.serves(2*beatTTL, s.all()...)
			s.must(s.redis.Restart(s.ctx))
			s.converges(time.Now(), soon, s.all()...)
			untouched()
			s.worksOn()
		},
	}, {
		Name:     "lbd: started while heartbeats are missing",
		Short:    true,
		Does:     "lbd is restarted while 2 of 5 agents are cut off; they are back within a heartbeat TTL after its start",
		MustHold: "all 5 are served all the time: what is merely missing after a start is kept for one heartbeat TTL",
		Run:      func(s *Site) { s.twoMissing(s.lbd.kill9, s.lbd.start) },
	}, {
		Name:     "lbd: heartbeats missing after a reconnect",
		Short:    true,
		Does:     "Redis refuses lbd for a while; when it is back, 2 of 5 heartbeats have just ended; their agents are back within a TTL",
		MustHold: "all 5 are served all the time",
		Run:      func(s *Site) { s.twoMissing(s.proxy.Refuse, s.proxy.Heal) },
	}, {
		Name:     "lbd: stands still",
		Does:     "SIGSTOP for 5 s, longer than a heartbeat lives; a node is frozen meanwhile",
		MustHold: "traffic goes on; the freeze arrives when it goes on",
		Run: func(s *Site) {
			s.must(s.lbd.Signal(syscall.SIGSTOP))
			s.freeze("web1")
			s.serves(5*time.Second, s.all()...)
			s.must(s.lbd.Signal(syscall.SIGCONT))
			s.converges(time.Now(), soon, s.but("web1")...)
			s.unfreeze("web1")
			s.converges(time.Now(), soon, s.all()...)
		},
	}}
}

// twoMissing ends two heartbeats while lbd sees nothing, and wants all nodes served until these are back.
func (s *Site) twoMissing(blind, sees func() error) {
	untouched := s.untouched()
	s.must(blind())
	s.cutOff("web1", "web2")
	s.pause(500 * time.Millisecond) // a heartbeat may be under way
	s.expire("web1", "web2")
	s.must(sees())
	s.serves(beatTTL/6, s.all()...) // they need up to a beat to be back
	s.reconnect(s.all()...)
	s.converges(time.Now(), soon, s.all()...)
	untouched()
}
