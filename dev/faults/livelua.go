package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// rechoose bounds a return to live changes after a fault that made lbd go by reloads: it tries after a minute first.
const rechoose = 90 * time.Second

var onlyLua = []string{byLua}

// luaRows are faults of the Lua code's own things: its socket, its memory, its worker processes, its place in the
// operator's configuration.
func luaRows() []Row {
	fallback := "the freeze is served all the same, by a reload if need be, and lbd says so; then peers go in live again"
	return []Row{{
		Name:      "lua: control socket removed",
		Engines:   onlyLua,
		ShortLive: onlyLua,
		Does:      "somebody deletes Nginx's control socket; a node is frozen",
		MustHold:  fallback,
		Reloads:   4,
		Run: func(s *Site) {
			s.must(empty(s.lbd.folder()))
			s.comesBack(false)
		},
	}, {
		Name:     "lua: folder of the control socket removed",
		Engines:  onlyLua,
		Does:     "somebody deletes the folder of Nginx's control socket; a node is frozen",
		MustHold: fallback,
		Reloads:  4,
		Run: func(s *Site) {
			s.must(os.RemoveAll(s.lbd.folder()))
			s.comesBack(true)
		},
	}, {
		Name:      "lua: a stranger at the control socket",
		Engines:   onlyLua,
		ShortLive: onlyLua,
		Does:      "the control socket is replaced by one of another program that says yes to everything; a node is frozen",
		MustHold:  fallback,
		Reloads:   4,
		Run: func(s *Site) {
			for _, name := range []string{"live.sock", "control.sock"} {
				path := filepath.Join(s.lbd.folder(), name)
				_ = os.Remove(path)
				l, err := net.Listen("unix", path)
				s.must(err)
				srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					fmt.Fprintln(w, `{"version":1,"generation":99999,"workers":[]}`)
				})}
				go srv.Serve(l)
				s.atEnd(srv.Close)
			}
			s.comesBack(false)
		},
	}, {
		Name:      "lua: a second Nginx on the same files",
		Engines:   onlyLua,
		ShortLive: onlyLua,
		Does:      "a second Nginx is started from lbd's very files, the control socket's path among them; a node is frozen; the operator reloads the first; another node is frozen",
		MustHold:  "the freezes are served by the Nginx that lbd keeps",
		Reloads:   4,
		Run: func(s *Site) {
			second := s.anotherNginx(filepath.Join(s.dir, "second"), func(text string) string { return text })
			s.atEnd(second.Kill)
			s.drains(soon, "web1")
			s.gone("web1", time.Second)
			s.reload()
			s.drains(retry, "web2")
			s.gone("web2", time.Second)
			s.must(second.Kill())
			s.unfreeze("web1", "web2")
			s.converges(time.Now(), 2*retry, s.all()...)
		},
	}, {
		Name:     "lua: one worker stands still",
		Engines:  onlyLua,
		Does:     "SIGSTOP to one of two workers for 4 s; a node is frozen meanwhile",
		MustHold: "the freeze is served by the other at once, and by this one when it goes on: no request of it goes to the node",
		Reloads:  2,
		More:     60, // which connections the worker has is chance
		Run: func(s *Site) {
			s.frozenWorkers(1)
		},
	}, {
		Name:     "lua: all workers stand still",
		Engines:  onlyLua,
		Does:     "SIGSTOP to all workers for 4 s; a node is frozen meanwhile",
		MustHold: "lbd's HTTP answers and says what is wrong; when they go on it serves what is wanted",
		Reloads:  4,
		More:     120,
		Run: func(s *Site) {
			s.frozenWorkers(workers)
		},
	}, {
		Name:      "lua: workers killed with requests under way",
		Engines:   onlyLua,
		ShortLive: onlyLua,
		Does:      "a request is under way on a node; all workers are killed -9, three times; the node is frozen",
		MustHold:  "a drain waits for the request of a living worker, and for none of those that were killed",
		More:      40,
		Run: func(s *Site) {
			for n := range 3 {
				id := fmt.Sprint("slow", n)
				slow := s.hold(id)
				change, err := s.pool.Freeze(s.ctx, id, "faults", "drain")
				s.must(err)
				s.wait(soon, func() error {
					err := s.drained(change.Rev, 500*time.Millisecond, id)
					if err == nil {
						s.fail("%s is drained with a request under way", id)
					}
					if !strings.Contains(err.Error(), "1 request under way on "+id) {
						return fmt.Errorf("with a request under way the drain says %w", err)
					}
					return nil
				})
				s.both(func(w *web) error { return w.signalWorkers(syscall.SIGKILL, workers) })
				s.must(s.drained(change.Rev, soon, id))
				slow.end()
			}
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:      "lua: nginx kill -9 and started twice, lbd down",
		Engines:   onlyLua,
		ShortLive: onlyLua,
		Does:      "a node is frozen, lbd is killed -9; Nginx is killed -9 and started, twice; then the socket's folder is removed and again; lbd starts",
		MustHold:  "Nginx starts each time and serves the newest set; lbd goes on from there without a reload",
		More:      40,
		Run: func(s *Site) {
			s.freeze("web1")
			s.converges(time.Now(), soon, s.but("web1")...)
			s.must(s.lbd.kill9())
			for n := range 3 {
				s.both(func(w *web) error { return w.Kill() })
				if n == 2 {
					s.must(os.RemoveAll(s.lbd.folder()))
				}
				s.both(func(w *web) error { return w.Restart(s.ctx) })
				s.serves(500*time.Millisecond, s.but("web1")...)
			}
			s.must(s.lbd.start())
			s.converges(time.Now(), soon, s.but("web1")...)
			s.unfreeze("web1")
			s.converges(time.Now(), soon, s.all()...)
		},
	}, {
		Name:     "lua: the operator has a log_by_lua of his own",
		Engines:  onlyLua,
		Does:     "the operator writes a log_by_lua_block into his server, which ends our counting there, and reloads; nodes are frozen",
		MustHold: "lbd says so and goes by reloads; no drain waits for requests that have ended",
		Reloads:  6,
		Run: func(s *Site) {
			s.edit("location / {", "log_by_lua_block { local mine = 1 }\n        location / {")
			s.reload()
			s.byReloads(retry, "log_by_lua")
			s.drains(retry, "web1")
			s.gone("web1", time.Second)
			s.unfreeze("web1")
			s.edit("log_by_lua_block { local mine = 1 }\n", "")
			s.reload()
			s.converges(time.Now(), rechoose, s.all()...)
			s.worksOn()
		},
	}, {
		Name:     "lua: the module is not loaded any more",
		Engines:  onlyLua,
		Does:     "the operator takes the load_module lines out and stops Nginx; it is started again and again until it starts",
		MustHold: "lbd says why, and writes a file that this Nginx can read within 20 s: it starts and serves",
		Reloads:  -1,
		More:     beyondAll,
		Run: func(s *Site) {
			for _, m := range []string{"ndk_http_module.so", "ngx_http_lua_module.so"} {
				s.edit("load_module /usr/lib/nginx/modules/"+m+";\n", "")
			}
			s.both(func(w *web) error { return w.Kill() })
			s.must(s.control.Restart(s.ctx))
			s.wait(retry, s.testConf)
			s.must(s.lb.Restart(s.ctx))
			s.byReloads(soon)
			s.freeze("web1")
			s.wait(soon, func() error { return s.inFile(s.but("web1")) })
			s.answers(s.but("web1")...)
		},
	}, {
		Name:     "lua: shared dictionary full",
		Engines:  onlyLua,
		Does:     "a location of the operator's fills our shared dictionary to the last byte; a node is frozen; lbd is restarted",
		MustHold: "no request suffers; " + fallback,
		Reloads:  4,
		Run: func(s *Site) {
			s.edit("location / {", "location = /fill { content_by_lua_block {\n"+
				"local d, n = ngx.shared.bazbeans_1, 0\n"+
				"for size = 20, 0, -1 do local v = string.rep('x', 2^size); while d:safe_set('fill' .. n, v) do n = n + 1 end end\n"+
				"ngx.say(n) } }\n        location / {")
			s.reload()
			s.pause(time.Second)
			s.ask("/fill")
			s.comesBack(false)
		},
	}, {
		Name:     "lua: ids that are words of the message",
		Engines:  onlyLua,
		Does:     "nodes are called end, peer, upstream, bazbeans, g, 0, and one has an id of 128 bytes",
		MustHold: "all of them are served, each can be frozen",
		Run: func(s *Site) {
			var entries []forged
			for _, id := range []string{"end", "peer", "upstream", "bazbeans", "g", "0", strings.Repeat("a", 128)} {
				entries = append(entries, s.another(id))
			}
			s.forge(entries...)
			s.redisDo("PUBLISH", "bazbeans:lb_events", "{}")
			s.converges(time.Now(), soon, s.all()...)
			for _, f := range entries {
				s.freeze(f.id)
			}
			s.converges(time.Now(), soon, s.but("end", "peer", "upstream", "bazbeans", "g", "0", strings.Repeat("a", 128))...)
		},
	}}
}

// comesBack freezes a node though Nginx can't be told of it, and wants peers to go in live again: lbd tries that by
// itself after a minute or more, and at its start.
func (s *Site) comesBack(wait bool) {
	s.drains(retry, "web1")
	s.gone("web1", time.Second)
	s.byReloads(soon, "nginx can't be told of peers")
	s.wait(soon, func() error { return s.inFile(s.but("web1")) })
	within := rechoose
	if !wait {
		within = soon
		s.must(s.lbd.Stop())
		s.must(s.lbd.start())
	}
	s.wait(within, func() error { return s.settledAt(s.but("web1")) })
	s.worksOn()
}

// frozenWorkers stops workers of both Nginxes for 4 s.
func (s *Site) frozenWorkers(n int) {
	s.both(func(w *web) error { return w.signalWorkers(syscall.SIGSTOP, n) })
	change, err := s.pool.Freeze(s.ctx, "web1", "faults", "workers stand still")
	s.must(err)
	s.pause(time.Second)
	stopped := time.Now()
	s.during(3*time.Second, func() error { _, err := s.lbd.status(s.ctx); return err })
	early := s.drained(change.Rev, 50*time.Millisecond, "web1") == nil
	s.both(func(w *web) error { return w.signalWorkers(syscall.SIGCONT, n) })
	if early {
		s.gone("web1", time.Second)
	}
	s.must(s.drained(change.Rev, 2*retry, "web1"))
	s.gone("web1", time.Second)
	s.converges(stopped, 2*retry, s.but("web1")...)
	s.unfreeze("web1")
	s.converges(time.Now(), 2*retry, s.all()...)
}

// signalWorkers signals the first n workers.
func (w *web) signalWorkers(sig syscall.Signal, n int) error {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", w.Master(), w.Master()))
	if err != nil {
		return err
	}
	for _, word := range strings.Fields(string(text)) {
		var pid int
		if _, err := fmt.Sscan(word, &pid); err != nil {
			return err
		}
		if n--; n < 0 {
			break
		}
		if err := syscall.Kill(pid, sig); err != nil {
			return err
		}
	}
	return nil
}

// edit changes a text in both nginx.confs.
func (s *Site) edit(old, new string) {
	s.both(func(w *web) error {
		text, err := os.ReadFile(w.Conf)
		if err != nil {
			return err
		}
		if !strings.Contains(string(text), old) {
			return fmt.Errorf("no %q in %s", old, w.Conf)
		}
		return write(w.Conf, strings.Replace(string(text), old, new, 1))
	})
}

// ask asks lbd's Nginx for a page.
func (s *Site) ask(path string) {
	resp, err := http.Get("http://" + s.lb.Listen[0] + path)
	s.must(err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		s.fail("%s: %s", path, resp.Status)
	}
}
