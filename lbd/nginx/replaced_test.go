package nginx

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// Nginx ends, comes back or is replaced between our test and our reload. The site's Nginx is a daemon, since it upgrades
// itself only as one.
func TestNginxReplacedDuringAnApply(t *testing.T) {
	t.Parallel()
	const (
		wait   = "while kill -0 $old 2>/dev/null; do sleep 0.01; done"
		master = "grep -q 'nginx: master process' /proc/$(cat nginx.pid 2>/dev/null)/cmdline" // a pid file alone is none yet
		start  = "./real -p . -c $PWD/nginx.conf -e stderr; until " + master + "; do sleep 0.01; done"
	)
	for _, tc := range []struct {
		name     string
		script   string // run after our test, in the site's folder; $old is the master
		running  bool
		reloaded bool
		draining int // workers of another master that still take connections
	}{
		{"it stops", "kill -TERM $old; " + wait, false, false, 0},
		{"it is killed, master and workers", "kill -KILL $old $(cat /proc/$old/task/$old/children); " + wait, false, false, 0},
		{"it is started anew", "kill -TERM $old; " + wait + "; " + start, true, true, 0},
		{"it is killed and started anew", "kill -KILL $old $(cat /proc/$old/task/$old/children); " + wait + "; rm nginx.pid; " + start, true, true, 0},
		{"its pid file is emptied, as a test of a stopped one does", "cp nginx.pid kept; : > nginx.pid", false, false, 0},
		{"its binary is upgraded", "kill -USR2 $old; until [ -s nginx.pid.oldbin ] && " + master + "; do sleep 0.01; done", true, true, 2},
		{"it reopens its logs", "mv error.log error.log.1; kill -USR1 $old", true, true, 0},
		{"it is reloaded by hand", "kill -HUP $old", true, true, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "include conf.d/*.conf;", map[string]string{"conf.d/out.conf": string(gen("g0"))})
			real, err := exec.LookPath("nginx")
			if err != nil {
				t.Fatalf("nginx is not installed: run `make deps` (%v)", err)
			}
			s.link(real, "real")
			if said, err := exec.Command(real, "-p", s.dir, "-c", filepath.Join(s.dir, "nginx.conf"), "-e", "stderr").CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, said)
			}
			t.Cleanup(s.endDaemons)
			s.state(func(st State) bool { return st.Workers == 2 })
			plain := s.n
			s.n = s.interfering("if [ ! -e done ]; then touch done; old=$(cat nginx.pid); " + tc.script + "; fi")
			out := s.apply(File{Path: s.out, Data: gen("g1")})
			if !out.Changed || out.Running != tc.running || out.Reloaded != tc.reloaded || out.Draining < tc.draining {
				t.Errorf("outcome %+v", out)
			}
			s.holds("conf.d/out.conf", gen("g1"))
			s.clean()
			if tc.running {
				s.state(func(st State) bool { return st.Workers == 2 })
				if tc.draining == 0 { // else the former master's workers answer as well
					s.serves("g1")
				}
			} else if out.Why == "" {
				t.Error("nothing says why it counts as not running")
			}
			// The next turn of lbd, with an Nginx that is there again.
			if _, err := os.Stat(filepath.Join(s.dir, "kept")); err == nil {
				s.write("nginx.pid", s.read("kept"))
			} else if !tc.running {
				_ = os.Remove(filepath.Join(s.dir, "nginx.pid"))
				if said, err := exec.Command(real, "-p", s.dir, "-c", filepath.Join(s.dir, "nginx.conf"), "-e", "stderr").CombinedOutput(); err != nil {
					t.Fatalf("it does not start: %v: %s", err, said)
				}
			}
			s.n = plain
			s.state(func(st State) bool { return st.Workers == 2 })
			if out := s.apply(File{Path: s.out, Data: gen("g2")}); !out.Running {
				t.Errorf("outcome of the next one %+v", out)
			}
			if tc.draining == 0 {
				s.serves("g2")
			}
		})
	}
}

// endDaemons ends what runs on the site's configuration.
func (s *site) endDaemons() {
	serverstest.EndDaemons(s.t, s.dir, "nginx.pid.oldbin", "nginx.pid", "kept")
}

// A proof rests on the kernel's clock since boot, not on one that people set.
func TestProofsNeedNoWallClock(t *testing.T) {
	t.Parallel()
	s := running(t)
	s.apply(File{Path: s.out, Data: gen("g1")})
	outs, err := s.n.outputs([]File{{Path: s.out, Data: gen("g1")}})
	if err != nil {
		t.Fatal(err)
	}
	m := mustStat(t, s.nginx.Master())
	for _, tc := range []struct {
		name string
		with func(p *proof)
		want bool
	}{
		{"as recorded", func(*proof) {}, true},
		{"another master, older than the record", func(p *proof) { p.Master.PID++ }, false},
		{"another master, of the tick of the record", func(p *proof) { p.Master.PID++; p.At = time.Duration(m.Start) * tick }, false},
		{"another master, younger than the record", func(p *proof) { p.Master.PID++; p.At = time.Duration(m.Start-1) * tick }, true},
		{"a record of before the last boot", func(p *proof) { p.Boot = "another" }, true},
		{"a record of before the last boot, the file was changed since", func(p *proof) { p.Boot = "another"; p.Files = map[string]fileID{s.out: {Ino: 1}} }, false},
		{"no master was seen, and this one is older", func(p *proof) { p.Master = process{} }, false},
		{"nothing is recorded", func(p *proof) { *p = proof{} }, false},
	} {
		p := s.n.lastProof()
		tc.with(&p)
		n := s.open(Options{})
		n.proof = &p
		if got := n.proven(m, outs); got != tc.want {
			t.Errorf("%s: proven %v", tc.name, got)
		}
	}
	// A file whose time is set to the past or the future is another file, and costs one reload.
	for i, at := range []time.Time{time.Unix(0, 0), time.Now().AddDate(10, 0, 0)} {
		if err := errors.Join(os.Chtimes(s.out, at, at)); err != nil {
			t.Fatal(err)
		}
		for _, reloaded := range []bool{true, false} {
			if out := s.apply(File{Path: s.out, Data: gen("g1")}); out.Reloaded != reloaded || !out.Running {
				t.Errorf("%d: outcome %+v", i, out)
			}
		}
	}
}
