package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// bothLive is for rows of both live engines.
var bothLive = []string{byLua, byResolve}

// liveRows are faults of what only live engines have.
func liveRows() []Row {
	return append([]Row{{
		Name:      "live: 50 changes a second",
		Engines:   bothLive,
		ShortLive: onlyLua,
		Does:      "for 20 s (6 s in a short run) nodes are frozen and unfrozen, 50 times a second",
		MustHold:  "no reload; acks and the file follow within 2 s (resolve: 3 s) all the time; at the end it serves what is wanted",
		Run: func(s *Site) {
			storm, lag := s.storm(), 2*time.Second
			if s.engine == byResolve { // each worker asks every second or two
				lag += time.Second
			}
			for end := time.Now().Add(s.long(20*time.Second, 6*time.Second)); time.Now().Before(end); {
				s.pause(500 * time.Millisecond)
				s.must(s.follows(storm, lag))
			}
			storm.end()
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:      "live: kill -9 of lbd in a storm of changes",
		Engines:   bothLive,
		ShortLive: onlyResolve,
		Does:      "nodes are frozen and unfrozen 50 times a second; lbd is killed ten times at a random moment of it, and started again",
		MustHold:  "after each kill nginx -t passes; at the end it serves what is wanted, without a reload",
		Run: func(s *Site) {
			storm := s.storm()
			for range 10 {
				s.pause(700 * time.Millisecond)
				s.must(s.lbd.kill9())
				s.must(s.testConf())
				s.must(s.lbd.start())
			}
			storm.end()
			s.converges(time.Now(), soon, s.all()...)
			s.worksOn()
		},
	}, {
		Name:      "live: the operator reloads in a storm of changes",
		Engines:   bothLive,
		ShortLive: onlyLua,
		Does:      "nodes are frozen and unfrozen 50 times a second; the operator reloads ten times, half a second apart",
		MustHold:  "the only reloads are the operator's; at the end it serves what is wanted",
		Reloads:   2, // one may come while a file is being written: lbd can't prove then what Nginx has read
		Run: func(s *Site) {
			storm := s.storm()
			for range 10 {
				s.pause(500 * time.Millisecond)
				s.reload()
			}
			storm.end()
			s.converges(time.Now(), soon, s.all()...)
			s.worksOn()
		},
	}, {
		Name:     "live: a bad file in a storm of changes",
		Engines:  bothLive,
		Does:     "nodes are frozen and unfrozen 50 times a second; the operator breaks a file of his own, and mends it 3 s later",
		MustHold: "acks follow all the time; the file falls behind and /status says why; mended, it catches up",
		Run: func(s *Site) {
			storm := s.storm()
			s.must(write(s.lb.own("mine.conf"), "nonsense;\n"))
			s.saysBehind("mine.conf:1", "nonsense")
			for range 6 {
				s.pause(500 * time.Millisecond)
				s.must(s.ackFollows(storm, 2*time.Second))
			}
			s.must(write(s.lb.own("mine.conf"), "# mended\n"))
			s.wait(retry, func() error { return s.follows(storm, 2*time.Second) })
			storm.end()
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:     "live: 2,000 nodes",
		Engines:  bothLive,
		Does:     "1,990 nodes more are there all at once, and living; a node is frozen; then they are taken away one half after the other",
		MustHold: "each freeze is served at once",
		Reloads:  4, // for so many nodes Nginx needs a larger zone, and a smaller one later
		Run: func(s *Site) {
			entries := s.multitude(1990)
			ids := s.all()
			s.forge(entries...)
			s.redisDo("PUBLISH", "bazbeans:lb_events", "{}")
			s.arrives(time.Now(), retry, func() error { return s.settledAt(ids) })
			s.drains(soon, "web1")
			s.gone("web1", time.Second)
			s.unfreeze("web1")
			s.arrives(time.Now(), retry, func() error { return s.settledAt(ids) })
			for _, part := range [][]forged{entries[:900], entries[900:1900]} {
				s.freeze(part[0].id)
				s.unforge(part...)
			}
			s.held(soon, 1900)
		},
	}, {
		Name:     "live: nginx upgraded in place",
		Engines:  bothLive,
		Does:     "USR2: a second master with workers of its own runs beside the first; a node is frozen; 3 s later the first one is told to QUIT",
		MustHold: "no drain is called done while workers of either may send to the node; then it serves what is wanted",
		Reloads:  3,
		More:     60, // it is killed and started first
		Run:      (*Site).upgraded,
	}}, append(luaRows(), resolveRows()...)...)
}

// reload is the operator's own.
func (s *Site) reload() {
	s.both(func(w *web) error { w.reload(); return nil })
	s.operator.Add(1)
}

// settledAt returns nil once lbd's file has these nodes and lbd says that Nginx goes by it.
func (s *Site) settledAt(ids []string) error {
	return s.settled(time.Now().Add(-resync), ids)
}

// upgraded replaces Nginx's binary, by itself.
func (s *Site) upgraded() {
	var first, second [2]int
	each := func(do func(i int, w *web) error) {
		s.both(func(w *web) error {
			if w == s.lb {
				return do(0, w)
			}
			return do(1, w)
		})
	}
	// With resolve, what this host has open to a node counts, whoever has it: the control is to keep nothing open.
	const keeps, closes = `Connection "";`, `Connection close;`
	text, err := os.ReadFile(s.control.Conf)
	s.must(err)
	s.must(write(s.control.Conf, strings.Replace(string(text), keeps, closes, 1)))
	each(func(i int, w *web) (err error) {
		if err := w.Kill(); err != nil {
			return err
		}
		// One that is our child takes no USR2.
		if said, err := exec.Command(w.Binary, "-p", w.Prefix, "-c", w.Conf, "-e", "stderr").CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, said)
		}
		first[i], err = w.pid(0)
		s.endsWith(&first[i])
		return err
	})
	s.converges(time.Now(), soon, s.all()...)
	each(func(i int, w *web) (err error) {
		if err := syscall.Kill(first[i], syscall.SIGUSR2); err != nil {
			return err
		}
		second[i], err = w.pid(first[i])
		s.endsWith(&second[i])
		return err
	})
	change, err := s.pool.Freeze(s.ctx, "web1", "faults", "upgrade")
	s.must(err)
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		s.pause(100 * time.Millisecond)
		if err := s.drained(change.Rev, 50*time.Millisecond, "web1"); err == nil {
			s.gone("web1", 300*time.Millisecond) // who says so must be right
		}
	}
	each(func(i int, _ *web) error { return syscall.Kill(first[i], syscall.SIGQUIT) })
	s.must(s.drained(change.Rev, 2*retry, "web1"))
	s.gone("web1", time.Second)
	s.converges(time.Now(), retry, s.but("web1")...)
	s.unfreeze("web1")
	s.converges(time.Now(), retry, s.all()...)
}

// endsWith ends a process that is not our child with the row.
func (s *Site) endsWith(pid *int) {
	s.ending.Lock()
	defer s.ending.Unlock()
	s.atEnd(func() error {
		if *pid > 0 {
			_ = syscall.Kill(*pid, syscall.SIGTERM)
		}
		return nil
	})
}

// pid is the master that the pid file names, once that is another than former.
func (w *web) pid(former int) (pid int, err error) {
	for deadline := time.Now().Add(soon); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		text, _ := os.ReadFile(w.PIDFile)
		if _, err := fmt.Sscan(string(text), &pid); err == nil && pid != former {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("%s still names process %d: %s", w.PIDFile, pid, w.LogTail())
}

// gone wants that lbd's Nginx has no answer of a node for d.
func (s *Site) gone(id string, d time.Duration) {
	s.pause(100 * time.Millisecond) // answers on their way to us
	before := s.lb.gen.Counts()
	s.pause(d)
	if n := s.lb.gen.Counts().Sub(before).ByNode[id]; n > 0 {
		s.fail("%s has answered %d requests since it was said to be drained", id, n)
	}
}

// drains freezes a node and waits until all that is under way on it has ended, as bbctl freeze --wait does.
func (s *Site) drains(within time.Duration, id string) {
	change, err := s.pool.Freeze(s.ctx, id, "faults", "a drain is played")
	s.must(err)
	s.must(s.drained(change.Rev, within, id))
}

// folder is where the control socket is.
func (b *balancer) folder() string { return filepath.Dir(b.socket()) }

// byReloads waits until lbd goes by reloads, and says why in these words.
func (s *Site) byReloads(within time.Duration, why ...string) {
	s.wait(within, func() error {
		st, err := s.lbd.status(s.ctx)
		if err == nil && st.Engine.Name != byReload {
			err = fmt.Errorf("changes go in by %s still", st.Engine.Name)
		}
		for _, text := range why {
			err = errors.Join(err, contains(st.Engine.Why, text))
		}
		return err
	})
}
