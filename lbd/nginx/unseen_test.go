package nginx

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/step"
)

// apart runs the site's Nginx in a PID namespace of its own, as a container does: its pid file says 1 or 2, and that is
// somebody else here. Its sign for people is host, the master's process id on this side.
type apart struct {
	s    *site
	ns   *exec.Cmd
	host int
}

func (s *site) startApart() *apart {
	s.t.Helper()
	a := &apart{s: s}
	s.t.Cleanup(a.stop)
	a.start()
	return a
}

func (a *apart) start() {
	a.s.t.Helper()
	flags := "-pf"
	if os.Geteuid() != 0 {
		flags = "-rpf"
	}
	a.ns = exec.Command("unshare", flags, "--kill-child", "nginx", "-p", a.s.dir, "-c", filepath.Join(a.s.dir, "nginx.conf"), "-e", "stderr", "-g", "daemon off;")
	a.ns.Stderr = a.s.t.Output()
	if err := a.ns.Start(); err != nil {
		a.s.t.Fatalf("unshare, of util-linux, is needed: %v", err)
	}
	serverstest.Eventually(a.s.t, soon, func() error {
		children := process{PID: a.ns.Process.Pid}.children()
		if len(children) != 1 || len(children[0].children()) != 2 {
			return fmt.Errorf("no workers yet: %v", children)
		}
		a.host = children[0].PID
		return nil
	})
}

func (a *apart) stop() {
	if a.ns == nil {
		return
	}
	_ = syscall.Kill(a.host, syscall.SIGTERM)
	_ = a.ns.Wait()
	a.ns = nil
}

// reload is an operator's command that reaches into the namespace.
func (a *apart) reload() []string {
	return []string{"sh", "-c", "kill -HUP $(cat " + a.s.dir + "/host.pid)"}
}

func (a *apart) note() { a.s.write("host.pid", strconv.Itoa(a.host)) }

func TestProcessesUnseen(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"tcp", "unix"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "include conf.d/*.conf;", map[string]string{"conf.d/out.conf": string(gen("g0"))})
			a := s.startApart()
			a.note()
			opt := Options{Reload: a.reload(), Proof: s.proofAt(kind)}
			s.n = s.open(opt)
			unseen := func(want bool) State {
				t.Helper()
				st, err := s.n.State(t.Context())
				if err != nil || st.Master != 0 || st.Unseen != want || st.Why == "" {
					t.Errorf("state %+v, %v; want unseen %v", st, err, want)
				}
				return st
			}
			unseen(false)
			out := s.apply(File{Path: s.out, Data: gen("g1")})
			if !out.Changed || !out.Reloaded || !out.Running || out.Draining == 0 {
				t.Errorf("outcome %+v", out)
			}
			serverstest.Eventually(t, soon, func() error { // an old worker that stood still may answer yet: nobody sees it
				for range 10 {
					if got := s.answer(); got != "g1" {
						return fmt.Errorf("Nginx serves %q", got)
					}
				}
				return nil
			})
			if st := unseen(true); st.Draining == 0 {
				t.Errorf("nobody can know that nothing drains: %+v", st)
			}
			s.clean()

			// Served already, says the listener; also to a new lbd.
			master := process{PID: a.host}
			crew := func() (working []process) { // once no reload is under way
				t.Helper()
				serverstest.Eventually(t, soon, func() error {
					var draining []process
					if working, draining = master.crew(); len(working) != 2 || len(draining) > 0 {
						return fmt.Errorf("%v work, %v drain", working, draining)
					}
					return nil
				})
				return working
			}
			before := crew()
			for range 2 {
				if out := s.apply(File{Path: s.out, Data: gen("g1")}); out.Reloaded || !out.Running || out.Draining == 0 {
					t.Errorf("outcome %+v", out)
				}
				s.n = s.open(opt)
			}
			if now := crew(); !slices.Equal(now, before) {
				t.Errorf("there was a reload: %v, now %v", before, now)
			}

			// Refused by the master: the former files are back, and it is seen that they are served.
			port, free := takePort(t)
			taken := append(gen("g2"), fmt.Sprintf("server { listen 127.0.0.1:%d; }\n", port)...)
			out = s.refuses(step.Reload, []File{{Path: s.out, Data: taken}}, "could not bind()")
			free()
			if out.Changed {
				t.Errorf("outcome %+v", out)
			}
			s.holds("conf.d/out.conf", append(gen("g1"), witnessInclude(s.out)...))
			if out := s.apply(File{Path: s.out, Data: gen("g1")}); out.Reloaded || !out.Running {
				t.Errorf("outcome %+v: the former files are not proven", out)
			}
			s.serves("g1")

			// An operator's reload drops the listener. One of ours brings it back.
			if err := syscall.Kill(a.host, syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			s.state(func(st State) bool { return !st.Unseen })
			crew()
			if out := s.apply(File{Path: s.out, Data: gen("g1")}); !out.Reloaded || !out.Running {
				t.Errorf("outcome %+v", out)
			}
			unseen(true)

			// A command that does nothing proves nothing.
			lazy := opt
			lazy.Reload, lazy.ReloadTimeout = []string{"true"}, minReloadTimeout
			s.n = s.open(lazy)
			s.refuses(step.Verify, []File{{Path: s.out, Data: gen("g3")}}, "no proof within", "the former files are not proven")
			s.serves("g1")

			// Nginx is down, as far as anybody can know: what has passed the test is there when it starts.
			s.n = s.open(opt)
			a.stop()
			unseen(false)
			out = s.refuses(step.Reload, []File{{Path: s.out, Data: gen("g4")}}, "if it runs", "have passed nginx's test and stay")
			if !out.Changed || out.Running {
				t.Errorf("outcome %+v", out)
			}
			s.clean()
			a.start()
			a.note()
			s.serves("g4")
			if out := s.apply(File{Path: s.out, Data: gen("g4")}); !out.Running || out.Changed {
				t.Errorf("outcome %+v", out)
			}
			unseen(true)
		})
	}
}

// With worker_shutdown_timeout it is known when no old worker can be left.
func TestDrainingUnseenEnds(t *testing.T) {
	t.Parallel()
	s := newSite(t, "include conf.d/*.conf;", map[string]string{"conf.d/out.conf": string(gen("g0"))})
	s.write("nginx.conf", "worker_shutdown_timeout 200ms;\n"+s.read("nginx.conf"))
	a := s.startApart()
	a.note()
	s.n = s.open(Options{Reload: a.reload(), Proof: s.proofAt("tcp")})
	began := time.Now()
	s.apply(File{Path: s.out, Data: gen("g1")})
	st := s.state(func(State) bool { return true })
	ended := time.Since(began) > time.Second // then they may have been before anybody looked
	if st.Draining != 1 && !ended || st.ShutdownTimeout != 200*time.Millisecond || !st.Unseen {
		t.Errorf("state %+v", st)
	}
	s.state(func(st State) bool { return st.Draining == 0 && st.Unseen })
}

// Old workers go by the timeout of the configuration that they were started with, whatever the one says that replaces them.
func TestHowLongUnseenWorkersMayDrain(t *testing.T) {
	an := func(d time.Duration) learned { return learned{shutdown: d} }
	const minute = time.Minute
	for _, tc := range []struct {
		name  string
		reads []learned // by reloads, one after the other; the last is an hour ago
		now   learned   // in the configuration on disk
		want  int
	}{
		{"an hour later", []learned{an(minute), an(minute)}, an(minute), 0},
		{"the first reload", []learned{an(minute)}, an(minute), 0},
		{"longer than an hour", []learned{an(2 * time.Hour), an(2 * time.Hour)}, an(2 * time.Hour), 1},
		{"lowered with the reload", []learned{an(2 * time.Hour), an(minute)}, an(minute), 1},
		{"lowered, and reloaded once more", []learned{an(2 * time.Hour), an(minute), an(minute)}, an(minute), 0},
		{"raised with the reload, or by an operator's before it", []learned{an(minute), an(2 * time.Hour)}, an(2 * time.Hour), 1},
		{"lowered on disk alone", []learned{an(2 * time.Hour), an(2 * time.Hour)}, an(minute), 1},
		{"set with the reload", []learned{an(0), an(minute)}, an(minute), 1},
		{"never set", []learned{an(0), an(0)}, an(0), 1},
		{"set on disk alone", []learned{an(0), an(0)}, an(minute), 1},
		{"noted by an lbd of old", nil, an(minute), 0},
		{"noted by an lbd of old, never set", nil, an(0), 1},
	} {
		var p proof
		for _, conf := range tc.reads {
			var next proof
			next.replaces(p, conf)
			p = next
		}
		p.Boot, p.At = bootID(), uptime()-time.Hour
		if got := p.maybe(tc.now); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
}

// Old workers that still answer prove nothing, however many new ones do.
func TestOldAnswersBreakTheRow(t *testing.T) {
	s := running(t)
	s.n = s.open(Options{Proof: s.proofAt("tcp")})
	s.apply(File{Path: s.out, Data: gen("g1")})
	p := s.n.lastProof()
	w := &witness{listener: s.n.listener, address: p.Asked, answer: p.Answer}
	deadline := time.Now().Add(soon)
	for !w.outlasts(t.Context()) && time.Now().Before(deadline) {
	}
	if w.inRow < enough || time.Since(w.since) < oldAnswer {
		t.Errorf("%d in a row within %v are enough", w.inRow, time.Since(w.since))
	}
	w.answer = "lbd 2 of another reload"
	serverstest.Eventually(t, soon, func() error { // one that is late has said nothing
		if late := net.Error(nil); !w.right(t.Context()) && errors.As(w.said, &late) && late.Timeout() {
			return w.said
		}
		return nil
	})
	if w.inRow != 0 || !strings.Contains(w.said.Error(), "a worker answers") {
		t.Errorf("an old answer counts: %+v", w)
	}
}
