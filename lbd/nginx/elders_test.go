package nginx

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// Nginx is told to quit and started anew while a worker has a request to finish: it is a worker of another master, and still
// sends to a node that was taken out.
func TestWorkersOfAMasterThatQuitsDrain(t *testing.T) {
	t.Parallel()
	s := newSite(t, "include conf.d/*.conf;", map[string]string{"conf.d/out.conf": string(gen("g0"))})
	start := func() int {
		said, err := exec.Command("nginx", "-p", s.dir, "-c", filepath.Join(s.dir, "nginx.conf"), "-e", "stderr").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		return s.state(func(st State) bool { return st.Workers == 2 }).Master
	}
	t.Cleanup(s.endDaemons)
	old := mustStat(t, start())
	s.apply(File{Path: s.out, Data: gen("g1")})
	end := s.hold()
	s.serves(s.answer()) // the connection is accepted
	if err := syscall.Kill(old.PID, syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	s.state(func(st State) bool { return st.Workers == 0 && st.Draining == 1 })
	if now := start(); now == old.PID {
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
