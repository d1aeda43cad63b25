package main

import "time"

// redisNetRows are faults of the network before Redis.
func redisNetRows() []Row {
	return []Row{{
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
	}}
}

// eachProxy does something to lbd's and all agents' ways to Redis.
func (s *Site) eachProxy(do func(*Proxy) error) {
	s.must(do(s.proxy))
	s.agents(s.all(), func(n *node) error { return do(n.redis) })
}
