package main

import (
	"fmt"
	"time"
)

// poolRows are what the pool's data may come to: agents that are gone, everybody frozen, nobody there, a flood.
func poolRows() []Row {
	return []Row{{
		Name:     "pool: 9 of 10 agents cut off, back in time",
		Does:     "9 agents lose Redis at once, their heartbeats end one after another; after less than the guard's hold they are back",
		MustHold: "never fewer than half of the nodes are served, and none that is kept goes while others come back",
		Setup:    Setup{Nodes: 10},
		Run: func(s *Site) {
			s.cutOff(s.but("web1")...)
			s.backInTime()
		},
	}, {
		Name:     "pool: 9 of 10 heartbeats end at one moment",
		Does:     "9 agents are cut off and their heartbeats deleted in Redis; back before the guard's hold is over",
		MustHold: "all 10 are served all the time",
		Setup:    Setup{Nodes: 10},
		Run: func(s *Site) {
			untouched := s.untouched()
			s.cutOff(s.but("web1")...)
			s.pause(500 * time.Millisecond) // a heartbeat may be under way
			s.expire(s.but("web1")...)
			s.held(soon, 9)
			s.serves(hold/2, s.all()...)
			s.reconnect(s.all()...)
			s.converges(time.Now(), soon, s.all()...)
			untouched()
		},
	}, {
		Name:     "pool: 9 of 10 agents cut off one by one",
		Short:    true,
		Does:     "an agent is cut off every 300 ms, no two heartbeats end together; then all are back",
		MustHold: "never fewer than half of the nodes are served, and none that is kept goes while others come back",
		Setup:    Setup{Nodes: 10},
		Run: func(s *Site) {
			for _, id := range s.but("web1") {
				s.cutOff(id)
				s.during(300*time.Millisecond, s.atLeast(5))
			}
			s.backInTime()
		},
	}, {
		Name:     "pool: 9 of 10 nodes really die",
		Does:     "9 applications and their agents are killed",
		MustHold: "traffic goes to the living one, the dead are believed dead after the guard's hold at the latest",
		Setup:    Setup{Nodes: 10},
		// While the dead are in the file each request may meet some; the control has them for ever.
		Run: func(s *Site) {
			for _, n := range s.nodes[1:] {
				s.must(n.endAgent())
				n.app.Kill()
			}
			s.converges(time.Now(), beatTTL+hold+soon, "web1")
		},
	}, {
		Name:     "pool: one node dies",
		Short:    true,
		Does:     "an application and its agent are killed",
		MustHold: "Nginx tries the next node until lbd takes the dead one out",
		Run: func(s *Site) {
			s.must(s.nodes[1].endAgent())
			s.nodes[1].app.Kill()
			s.converges(time.Now(), soon, s.but("web2")...)
		},
	}, {
		Name:     "pool: mass freeze",
		Short:    true,
		Does:     "all nodes but one are frozen as quickly as it goes, then unfrozen",
		MustHold: "freezes are somebody's will: all of them are applied; no request is lost",
		Setup:    Setup{Nodes: 10},
		Run: func(s *Site) {
			s.freeze(s.but("web1")...)
			s.converges(time.Now(), soon, "web1")
			s.unfreeze(s.but("web1")...)
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:     "pool: all nodes frozen",
		Does:     "every node is frozen, as with a stolen credential",
		MustHold: "min_nodes are kept and answer, and lbd says so",
		Run: func(s *Site) {
			s.freeze(s.all()...)
			s.held(soon, 1)
			s.during(s.long(2*hold, hold), s.atLeast(1))
			s.unfreeze(s.all()...)
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:     "pool: sets deleted",
		Short:    true,
		Does:     "nodes:all and nodes:active are deleted; the agents put themselves back with their next heartbeat",
		MustHold: "the last good set is served all the time",
		Run: func(s *Site) {
			untouched := s.untouched()
			s.redisDo("DEL", "bazbeans:nodes:all", "bazbeans:nodes:active")
			deleted := time.Now()
			s.serves(beatEvery, s.all()...)
			s.converges(deleted, soon, s.all()...)
			untouched()
		},
	}, {
		Name:     "pool: flapping",
		Short:    true,
		Does:     "a node is frozen and unfrozen 100 times (30 in a short run) as quickly as it goes",
		MustHold: "reloads stay within their budget of one each 200 ms; the last word counts",
		Run: func(s *Site) {
			began, before := time.Now(), reconfigured(s.lb.ErrorLog)
			for range s.times(100, 30) {
				s.freeze("web2")
				s.pause(20 * time.Millisecond)
				s.unfreeze("web2")
				s.pause(20 * time.Millisecond)
			}
			s.converges(time.Now(), soon, s.all()...)
			budget := int64(time.Since(began)/(200*time.Millisecond)) + 2
			if n := reconfigured(s.lb.ErrorLog) - before; n > budget {
				s.fail("%d reloads in %v, want at most %d", n, time.Since(began), budget)
			}
		},
	}, {
		Name:     "pool: 10,000 bogus registrations",
		Short:    true,
		Does:     "10,000 nodes with living heartbeats, at addresses where nobody is, are there all at once; later they are forgotten",
		MustHold: "more nodes than an upstream may have: the last good set stays, and lbd says so; a freeze arrives",
		Run: func(s *Site) {
			untouched := s.untouched()
			all := crowd(10_000, bogus)
			s.forge(all...)
			s.redisDo("PUBLISH", "bazbeans:lb_events", "{}")
			s.quarantined(soon, all[0].id, all[9999].id)
			s.serves(3*time.Second, s.all()...)
			untouched()
			s.worksOn()
			s.unforge(all...)
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:     "pool: bogus registrations one by one",
		Does:     "max_nodes is 5, and 5 are served; 200 nodes register one after another at addresses where nobody is; one of the 5 is frozen",
		MustHold: "nobody new gets in while more want to than may; the freeze and its end arrive",
		Setup:    Setup{Upstreams: "upstreams: [{name: app_backend, output: CONF.D/upstream.conf, max_nodes: 5}]\n"},
		Run: func(s *Site) {
			untouched := s.untouched()
			for i := range 200 {
				s.forge(bogus(i))
				s.redisDo("PUBLISH", "bazbeans:lb_events", "{}")
				s.during(10*time.Millisecond, func() error { return s.inFile(s.all()) })
			}
			s.quarantined(soon, bogus(0).id, bogus(199).id)
			untouched()
			s.worksOn()
		},
	}, {
		Name:     "pool: 10,000 registrations of rubbish",
		Does:     "somebody registers 10,000 nodes whose address is none",
		MustHold: "each is refused, the others are served, a freeze arrives",
		Run: func(s *Site) {
			untouched := s.untouched()
			s.forge(crowd(10_000, func(i int) forged {
				return forged{id: fmt.Sprintf("bogus%d", i), agent: "1.0", fields: map[string]string{"address": "unix:/var/run/docker.sock", "port": "9"}}
			})...)
			s.redisDo("PUBLISH", "bazbeans:lb_events", "{}")
			s.quarantined(soon, "bogus0", "bogus9999")
			s.serves(2*time.Second, s.all()...)
			untouched()
			s.worksOn()
		},
	}}
}

// backInTime has the agents that were cut off back before the hold is over: what is kept stays until all are.
func (s *Site) backInTime() {
	s.held(2*beatTTL, 1)
	s.wait(soon, func() error { // what went before the hold goes from the file later than from a live Nginx
		st, err := s.lbd.status(s.ctx)
		if err == nil && st.Written != st.Running {
			err = fmt.Errorf("generation %d runs, %d is written", st.Running, st.Written)
		}
		return err
	})
	kept := len(s.onDisk())
	s.during(hold/2, s.atLeast(kept))
	s.reconnect(s.all()...)
	s.recovers(soon, kept, s.all()...)
}

// atLeast holds while lbd's file has so many nodes.
func (s *Site) atLeast(n int) func() error {
	return func() error {
		got, err := s.served()
		if err == nil && len(got) < n {
			err = fmt.Errorf("only %d nodes are served, want at least %d: %v", len(got), n, got)
		}
		return err
	}
}
