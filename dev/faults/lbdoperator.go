package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// lbdOperatorRows are what the operator of a load balancer does to it, rightly or not.
func lbdOperatorRows() []Row {
	return []Row{{
		Name:     "lbd: two on one host",
		Short:    true,
		Does:     "a second lbd is started with the same settings, and one with the same state folder alone",
		MustHold: "each ends at once and says why; the first goes on",
		Run: func(s *Site) {
			untouched := s.untouched()
			same := *s.lbd
			same.dir = filepath.Join(s.dir, "second")
			s.refusedToStart(&same, "address already in use", "another lbd")
			third, err := s.newBalancer("lb3", "third", s.lb)
			s.must(err)
			text, err := os.ReadFile(third.conf)
			s.must(err)
			s.must(write(third.conf, strings.Replace(string(text), third.state(), s.lbd.state(), 1)))
			s.refusedToStart(third, "another lbd")
			untouched()
			s.worksOn()
		},
	}, {
		Name:     "lbd: two with one id",
		Does:     "another lbd, of another Nginx, has the same id; a node is frozen, then the other one is stopped",
		MustHold: "both say so, traffic goes on, freezes arrive; alone again it forgets the other",
		Run: func(s *Site) {
			build, err := s.build(s.ctx)
			s.must(err)
			rival, err := startWeb(s.ctx, build, filepath.Join(s.dir, "rival-nginx"), nil)
			s.must(err)
			s.atEnd(rival.Kill)
			twin, err := s.newBalancer(s.lbd.id, "rival", rival)
			s.must(err)
			s.must(twin.start())
			s.atEnd(twin.end)
			s.says(soon, "another lbd has the id")
			s.freeze("web1")
			s.wait(soon, func() error { return s.inFile(s.but("web1")) })
			s.answers(s.but("web1")...)
			s.must(twin.Stop())
			s.unfreeze("web1")
			s.converges(time.Now(), 2*retry, s.all()...)
		},
	}, {
		Name:     "lbd: approve",
		Does:     "all agents are away for good and the pool was flushed: held; an operator says lbd approve on the host",
		MustHold: "the set stays until he does, and goes then; a node that registers is served",
		Run: func(s *Site) {
			s.agents(s.all(), (*node).endAgent)
			s.redisDo("FLUSHALL")
			s.held(soon, len(s.nodes))
			s.serves(hold, s.all()...)
			s.must(s.lbd.command("approve"))
			s.arrives(time.Now(), soon, func() error { return s.inFile([]string{}) })
			s.must(s.testConf())
			s.agents(s.all(), func(n *node) error { return n.startAgent(s.ctx) })
			s.converges(time.Now(), soon, s.all()...)
		},
		More: beyondAll,
	}, {
		Name:     "lbd: rollback",
		Does:     "a node is frozen; an operator says lbd rollback, kills lbd -9 and starts it, freezes another node, ends the rollback",
		MustHold: "the former generation is served until the end of the rollback, whatever the pool says; then what is wanted",
		Run: func(s *Site) {
			s.freeze("web1")
			s.converges(time.Now(), soon, s.but("web1")...)
			s.must(s.lbd.command("rollback"))
			s.arrives(time.Now(), soon, func() error { return s.inFile(s.all()) })
			s.must(s.lbd.kill9())
			s.must(s.lbd.start())
			s.freeze("web2")
			s.serves(3*time.Second, s.all()...)
			s.must(s.lbd.command("rollback", "--end"))
			s.converges(time.Now(), soon, s.but("web1", "web2")...)
			s.unfreeze("web1", "web2")
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:     "lbd: template broken",
		Short:    true,
		Does:     "a template that can't be read is put in its folder; a node is frozen; the template is removed",
		MustHold: "the version proven before is used, lbd says so, the freeze arrives",
		Run:      func(s *Site) { s.badTemplate("{{range .Servers}}", "upstream.conf.tmpl") },
	}, {
		Name:     "lbd: template that Nginx refuses",
		Short:    true,
		Does:     "a template that makes a directive unknown to Nginx; a node is frozen; the template is removed",
		MustHold: "the version proven before is used, lbd says so, the freeze arrives",
		Run: func(s *Site) {
			s.badTemplate("upstream {{.Name}} {\n{{range .Servers}}    server {{.Addr}};\n{{end}}    no_such_directive on;\n}\n", "no_such_directive")
		},
	}, {
		Name:     "lbd: template that puts in more servers",
		Short:    true,
		Does:     "a template writes a server that is no node's; a node is frozen; the template is removed",
		MustHold: "the output is read again before Nginx sees it: refused, and the version proven before is used",
		Run: func(s *Site) {
			s.badTemplate("upstream {{.Name}} {\n{{range .Servers}}    server {{.Addr}};\n{{end}}    server 127.0.0.66:66;\n}\n", "127.0.0.66")
		},
	}}
}

// beyondAll is for a row in which an operator wants requests to fail.
const beyondAll = 1 << 20

// badTemplate puts a bad template in lbd's folder: changes of the pool go on being applied, and lbd says what is wrong.
func (s *Site) badTemplate(text string, says string) {
	file := filepath.Join(s.lbd.templates(), "upstream.conf.tmpl")
	s.must(write(file, text))
	s.says(soon, says)
	s.freeze("web1")
	s.wait(soon, func() error { return s.inFile(s.but("web1")) })
	s.answers(s.but("web1")...)
	s.must(os.Remove(file))
	s.unfreeze("web1")
	s.converges(time.Now(), 2*retry, s.all()...)
}

// refusedToStart starts an lbd that must end at once with exit code 1, and say one of these.
func (s *Site) refusedToStart(b *balancer, says ...string) {
	s.must(os.MkdirAll(b.dir, 0o755))
	s.must(b.start())
	select {
	case <-b.Done():
	case <-time.After(soon):
		s.must(errors.Join(fmt.Errorf("a second lbd has started: %s", b.LogTail()), b.Kill()))
	}
	if err := b.Err(); err == nil || err.Error() != "exit status 1" {
		s.fail("a second lbd ended with %v, want exit status 1", err)
	}
	for _, text := range says {
		if strings.Contains(b.Log(), text) {
			return
		}
	}
	s.fail("a second lbd does not say %q: %s", says, b.LogTail())
}
