package main

import (
	"net"
	"time"
)

var onlyResolve = []string{byResolve}

// resolveRows are faults of the names that Nginx asks lbd for.
func resolveRows() []Row {
	return []Row{{
		Name:      "resolve: lbd away for 10 s, with reloads in it",
		Engines:   onlyResolve,
		ShortLive: onlyResolve,
		Does:      "lbd is killed -9 and started 10 s later; the operator reloads three times meanwhile",
		MustHold:  "Nginx keeps what it knows, over reloads too",
		Run: func(s *Site) {
			s.freeze("web1")
			s.converges(time.Now(), soon, s.but("web1")...)
			s.must(s.lbd.kill9())
			for range 3 {
				s.sends(2500*time.Millisecond, s.but("web1")...)
				s.reload()
			}
			s.sends(2500*time.Millisecond, s.but("web1")...)
			s.must(s.lbd.start())
			s.converges(time.Now(), soon, s.but("web1")...)
			s.unfreeze("web1")
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:     "resolve: a stranger has the port",
		Engines:  onlyResolve,
		Does:     "lbd is killed -9, another program takes the port of its names and answers nothing; lbd starts, a node is frozen; the port is free again",
		MustHold: "lbd goes by reloads and says why; then peers go in live again",
		Reloads:  6,
		Run: func(s *Site) {
			s.must(s.lbd.kill9())
			tcp, err := net.Listen("tcp", s.lbd.names)
			s.must(err)
			udp, err := net.ListenPacket("udp", s.lbd.names)
			s.must(err)
			s.must(s.lbd.start())
			s.byReloads(soon, s.lbd.names, "address already in use")
			s.freeze("web1")
			s.wait(retry, func() error { return s.inFile(s.but("web1")) })
			s.answers(s.but("web1")...)
			s.must(tcp.Close())
			s.must(udp.Close())
			s.converges(time.Now(), rechoose, s.but("web1")...)
			s.unfreeze("web1")
			s.converges(time.Now(), soon, s.all()...)
		},
	}}
}
