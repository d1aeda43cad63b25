package nginx

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// startDaemon starts the site's Nginx as an operator does, and returns its master.
func (s *site) startDaemon() int {
	s.t.Helper()
	said, err := exec.Command("nginx", "-p", s.dir, "-c", filepath.Join(s.dir, "nginx.conf"), "-e", "stderr").CombinedOutput()
	if err != nil {
		s.t.Fatalf("%v: %s", err, said)
	}
	return s.state(func(st State) bool { return st.Workers == 2 }).Master
}

// quitting is a site whose Nginx was told to quit while a worker has a request to finish, until end is called.
func quitting(t *testing.T) (s *site, old process, end func()) {
	t.Helper()
	s = newSite(t, "include conf.d/*.conf;", map[string]string{"conf.d/out.conf": string(gen("g0"))})
	t.Cleanup(s.endDaemons)
	old = mustStat(t, s.startDaemon())
	s.apply(File{Path: s.out, Data: gen("g1")})
	end = s.hold()
	s.serves(s.answer()) // the connection is accepted
	if err := syscall.Kill(old.PID, syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	return s, old, end
}

// Nginx is told to quit and started anew while a worker has a request to finish: it is a worker of another master, and still
// sends to a node that was taken out.
func TestWorkersOfAMasterThatQuitsDrain(t *testing.T) {
	t.Parallel()
	s, old, end := quitting(t)
	s.state(func(st State) bool { return st.Workers == 0 && st.Draining == 1 })
	if now := s.startDaemon(); now == old.PID {
		t.Fatalf("the master is process %d still", now)
	}
	s.write("kept", s.read("nginx.pid")) // who quits takes the pid file of the other along
	for _, lbd := range []string{"the same", "a new"} {
		if st := s.state(func(State) bool { return true }); st.Draining != 1 || st.Former != 1 || len(st.Leaving) != 1 {
			t.Errorf("%s lbd: state %+v", lbd, st)
		}
		s.n = s.open(Options{})
	}
	end()
	serverstest.Eventually(t, soon, func() error {
		if old.alive() {
			return fmt.Errorf("process %d lives", old.PID)
		}
		return nil
	})
	s.write("nginx.pid", s.read("kept"))
	if st := s.state(func(st State) bool { return st.Workers == 2 }); st.Draining != 0 {
		t.Errorf("state %+v", st)
	}
}

// The master is killed while it quits, before its last worker has ended: the worker is nobody's, and still sends to a node that
// was taken out.
func TestWorkersOfAKilledMasterDrain(t *testing.T) {
	t.Parallel()
	s, old, end := quitting(t)
	worker := mustStat(t, s.state(func(st State) bool { return st.Workers == 0 && st.Draining == 1 }).Leaving[0])
	t.Cleanup(func() {
		if worker.alive() { // the test ended early
			_ = syscall.Kill(worker.PID, syscall.SIGKILL)
		}
	})
	if err := syscall.Kill(old.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	serverstest.Eventually(t, soon, func() error {
		if old.alive() {
			return fmt.Errorf("process %d lives", old.PID)
		}
		return nil
	})
	s.startDaemon()
	for _, lbd := range []string{"the same", "a new", "one that has applied"} {
		if lbd == "one that has applied" {
			s.apply(File{Path: s.out, Data: gen("g2")})
			s.n = s.open(Options{})
		}
		if st := s.state(func(st State) bool { return st.Draining == 1 }); st.Leaving[0] != worker.PID {
			t.Errorf("%s lbd: state %+v", lbd, st)
		}
		in, err := s.n.Inspect(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if m := in.Master; m == nil || m.Draining != 1 || !slices.Equal(m.Orphans, []int{worker.PID}) {
			t.Errorf("%s lbd: %+v", lbd, m)
		}
		s.n = s.open(Options{})
	}
	end()
	if st := s.state(func(st State) bool { return st.Draining == 0 }); st.Workers != 2 || len(s.n.formerMasters(mustStat(t, st.Master))) != 0 {
		t.Errorf("state %+v, former masters %v", st, s.n.masters)
	}
}
