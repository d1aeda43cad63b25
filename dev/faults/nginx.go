package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers"
)

// retry bounds a return to normal after lbd has failed for a while: it tries again after 1 s, 2 s, 4 s …
const retry = 20 * time.Second

// nginxRows are faults of Nginx and of the operator's own configuration. Who stops Nginx loses requests; lbd must not
// make them more.
func nginxRows() []Row {
	return []Row{{
		Name:        "nginx: kill -9",
		Short:       true,
		ShortLive:   onlyResolve,
		Does:        "master and workers are killed, and started again by the operator 500 ms later; three times, a node is frozen meanwhile",
		MustHold:    "Nginx starts with what is on disk; then it serves what is wanted",
		More:        30,  // 0.2 s of the load, for three starts
		MoreResolve: 150, // and 0.3 s until the first answer, for each of three starts
		// Each start begins with server lines beside the name, which a reload takes out once Nginx has been answered.
		ReloadsResolve: 3,
		Run: func(s *Site) {
			for range 3 {
				s.both(func(w *web) error { return w.Kill() })
				s.freeze("web1")
				s.pause(500 * time.Millisecond)
				s.both(func(w *web) error { return w.Restart(s.ctx) })
				started := time.Now()
				s.converges(started, soon, s.but("web1")...)
				s.unfreeze("web1")
				s.converges(time.Now(), soon, s.all()...)
			}
		},
	}, {
		Name:        "nginx: kill -9, lbd: kill -9, /run emptied",
		Short:       true,
		Does:        "as when the machine lost power: all is killed, the folder of the pid file is emptied, Nginx starts before lbd",
		MustHold:    "Nginx starts without lbd and serves the last good set; lbd goes on from there",
		More:        30,
		MoreResolve: beyondAll, // it has no node before lbd is back to say them: see docs/live.md
		Run: func(s *Site) {
			s.freeze("web1")
			s.converges(time.Now(), soon, s.but("web1")...)
			s.must(s.lbd.kill9())
			s.both(func(w *web) error { return w.Kill() })
			s.both(func(w *web) error { return empty(filepath.Dir(w.PIDFile)) })
			s.must(empty(filepath.Join(s.dir, "lbd/run")))
			s.both(func(w *web) error { return w.Restart(s.ctx) })
			if s.engine != byResolve {
				s.serves(time.Second, s.but("web1")...)
			}
			s.must(s.lbd.start())
			started := time.Now()
			s.converges(started, soon, s.but("web1")...)
			s.unfreeze("web1")
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:        "nginx: stopped and started during an apply",
		Short:       true,
		Does:        "a node is frozen or unfrozen and, 0 to 300 ms later, Nginx killed -9 and started again; 20 times (6 in a short run)",
		MustHold:    "Nginx starts each time; after the last time it serves what is wanted",
		More:        100,  // 0.67 s of the load, for 20 starts
		Reloads:     -1,   // one that starts while lbd writes is not proven to have read it
		MoreResolve: 1000, // and 0.3 s until the first answer, for each of 20 starts
		Run: func(s *Site) {
			for n := range s.times(20, 6) {
				if n%2 == 0 {
					s.freeze("web1")
				} else {
					s.unfreeze("web1")
				}
				s.pause(rand.N(300 * time.Millisecond))
				s.both(func(w *web) error { return w.Kill() })
				s.both(func(w *web) error { return w.Restart(s.ctx) })
			}
			s.converges(time.Now(), retry, s.all()...)
		},
	}, {
		Name:     "nginx: the operator reloads, too",
		Short:    true,
		Does:     "a node is frozen, and the operator reloads at the same moment; ten times",
		MustHold: "each freeze and unfreeze is served",
		Run: func(s *Site) {
			for range 5 {
				for _, step := range []func(...string){s.freeze, s.unfreeze} {
					step("web1")
					s.both(func(w *web) error { w.reload(); return nil })
					s.operator.Add(1)
					s.pause(50 * time.Millisecond)
				}
			}
			s.converges(time.Now(), retry, s.all()...)
			s.worksOn()
		},
	}, {
		Name:     "nginx: port taken at reload",
		Short:    true,
		Does:     "the operator adds a listen on a port that another program has; a node is frozen; later the port is free",
		MustHold: "lbd does not take the reload for done, says why, and freezes the node when the port is free",
		Live:     "the freeze needs no reload and is served at once, whatever becomes of the operator's own reloads",
		Run: func(s *Site) {
			taken, err := net.Listen("tcp", "127.0.0.1:0")
			s.must(err)
			s.atEnd(func() error { taken.Close(); return nil }) // it is, by then
			s.both(func(w *web) error {
				return write(w.own("port.conf"), fmt.Sprintf("server { listen %s; return 204; }\n", taken.Addr()))
			})
			if s.live() {
				s.both(func(w *web) error { w.reload(); return nil })
				s.operator.Add(1)
				s.worksOn()
				s.must(os.Remove(s.control.own("port.conf")))
				s.must(taken.Close())
				s.worksOn()
				return
			}
			s.freeze("web1")
			s.says(retry, "bind()", taken.Addr().String())
			s.answers(s.all()...)
			s.pause(2 * time.Second)
			s.answers(s.all()...)
			s.must(os.Remove(s.control.own("port.conf"))) // only one of the two can have the port
			s.must(taken.Close())
			s.converges(time.Now(), 2*retry, s.but("web1")...)
			s.unfreeze("web1")
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:      "nginx: the operator's own file is broken",
		Short:     true,
		Does:      "nginx -t fails because of a file that is not lbd's; a node is frozen; 4 s later the file is mended",
		MustHold:  "lbd changes nothing, says which file and line, and freezes the node when the file is mended",
		Live:      behind + "when the file is mended",
		ShortLive: onlyLua,
		Run: func(s *Site) {
			s.must(write(s.lb.own("mine.conf"), "server {\n    listen 127.0.0.1:1 nonsense;\n}\n"))
			s.cantWrite(4*time.Second, s.lb.own("mine.conf")+":2", "nonsense")
			s.must(write(s.lb.own("mine.conf"), "# mended\n"))
			s.converges(time.Now(), retry, s.but("web1")...)
			s.unfreeze("web1")
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:     "nginx: reload command hangs",
		Does:     "nginx.reload is a command that never ends; a node is frozen; later the command works again",
		MustHold: "lbd gives the command up and says so, its HTTP answers; the freeze is served within 45 s of when the command works",
		Live:     "nobody needs the command: the freeze is served at once",
		Setup: Setup{
			Reload: `["/bin/sh", "SITE/reload.sh"]`,
			Files:  map[string]string{"reload.sh": "cd \"${0%/*}\"\n[ ! -e hang ] || exec sleep 600\nexec kill -HUP \"$(cat lb/run/nginx.pid)\"\n"},
		},
		Run: func(s *Site) {
			s.must(write(filepath.Join(s.dir, "hang"), ""))
			s.freeze("web1")
			if !s.live() {
				s.says(2*retry, "reload.sh")
			}
			s.must(s.testConf())
			s.must(os.Remove(filepath.Join(s.dir, "hang")))
			s.converges(time.Now(), 45*time.Second, s.but("web1")...)
			s.unfreeze("web1")
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:     "nginx: a second one starts from lbd's file",
		Short:    true,
		Does:     "nothing goes wrong: 0 to 300 ms after nodes are frozen and unfrozen, a fresh Nginx is started on the same files; 20 times (6 in a short run)",
		MustHold: "it starts and serves each time",
		Run: func(s *Site) {
			for n := range s.times(20, 6) {
				serving := s.all()
				if n%2 == 0 {
					s.freeze("web1")
					serving = s.but("web1")
				} else {
					s.unfreeze("web1")
				}
				s.pause(rand.N(300 * time.Millisecond))
				s.startsFresh()
				s.converges(time.Now(), soon, serving...)
			}
		},
	}}
}

// own is a file of the operator's, in the folder that Nginx includes.
func (w *web) own(name string) string { return filepath.Join(filepath.Dir(w.file()), name) }

// empty removes what is in a folder, if it is there.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil
	}
	for _, e := range entries {
		if err == nil {
			err = os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
	return err
}

// onDisk is what lbd's file has now.
func (s *Site) onDisk() []string {
	ids, err := s.served()
	s.must(err)
	return slices.Clone(ids)
}

// reload asks for a bare reload.
func (w *web) reload() {
	if w.Alive() {
		_ = syscall.Kill(w.Master(), syscall.SIGHUP) // it may just have ended
	}
}

// testConf runs nginx -t on what is on disk.
func (s *Site) testConf() error {
	said, err := exec.CommandContext(s.ctx, s.lb.Binary, "-t", "-p", s.lb.Prefix, "-c", s.lb.Conf).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("nginx would not start with what is on disk: %w: %s", err, said)
	}
	return err
}

// startsFresh starts an Nginx of its own on what lbd's files hold, and ends it. Its control socket is its own.
func (s *Site) startsFresh() {
	dir := filepath.Join(s.dir, "fresh")
	fresh := s.anotherNginx(dir, func(text string) string {
		return strings.ReplaceAll(text, s.lbd.socket(), filepath.Join(dir, "control.sock"))
	})
	s.must(fresh.Kill())
}

// anotherNginx starts an Nginx on copies of lbd's files.
func (s *Site) anotherNginx(dir string, copied func(string) string) *servers.Nginx {
	port, err := servers.FreePort()
	s.must(err)
	opts, err := s.build(s.ctx)
	s.must(err)
	opts.Dir, opts.Listen, opts.Workers, opts.Files = dir, []string{servers.Loopback(port)}, 1, map[string]string{}
	files, err := filepath.Glob(s.lb.own("*.conf"))
	s.must(err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		s.must(err)
		opts.Files["conf.d/"+filepath.Base(file)] = copied(string(text))
	}
	n, err := servers.StartNginx(s.ctx, opts)
	s.must(err)
	return n
}
