package nginx

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// A new lbd knows from the record of the last one what is proven.
func TestRestartAfterProof(t *testing.T) {
	t.Parallel()
	s := running(t)
	s.apply(File{Path: s.out, Data: gen("g1")})
	same := s.undisturbed()
	s.n = s.open(Options{})
	if out := s.apply(File{Path: s.out, Data: gen("g1")}); out.Reloaded || !out.Running {
		t.Errorf("outcome %+v", out)
	}
	same()
}

// lbd was killed between install and reload: the file is there, and nobody has read it.
func TestRestartBeforeReload(t *testing.T) {
	t.Parallel()
	s := running(t)
	s.write("conf.d/out.conf", string(gen("g1")))
	s.serves("g0")
	if out := s.apply(File{Path: s.out, Data: gen("g1")}); out.Changed || !out.Reloaded || !out.Running {
		t.Errorf("outcome %+v", out)
	}
	s.serves("g1")
}

// A file that was touched, replaced by an equal one or removed and made again is no longer proven.
func TestEqualFileIsNoProof(t *testing.T) {
	t.Parallel()
	s := running(t)
	s.apply(File{Path: s.out, Data: gen("g1")})
	s.write("new", string(gen("g1")))
	if err := os.Rename(filepath.Join(s.dir, "new"), s.out); err != nil {
		t.Fatal(err)
	}
	if out := s.apply(File{Path: s.out, Data: gen("g1")}); !out.Reloaded || !out.Running {
		t.Errorf("outcome %+v", out)
	}
}

// tickOver waits until what begins now is surely younger than what was recorded before.
func tickOver() {
	for now := uptime(); uptime() < now+2*tick; {
		time.Sleep(tick / 2)
	}
}

// Nginx was started anew after the file: it has read it.
func TestWorkersYoungerThanTheFile(t *testing.T) {
	t.Parallel()
	s := running(t)
	s.apply(File{Path: s.out, Data: gen("g1")})
	tickOver()
	if err := s.nginx.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	serverstest.Eventually(t, soon, func() error {
		if len(s.workers()) != 2 {
			return errors.New("no workers yet")
		}
		return nil
	})
	same := s.undisturbed()
	if out := s.apply(File{Path: s.out, Data: gen("g1")}); out.Reloaded || !out.Running {
		t.Errorf("outcome %+v", out)
	}
	same()
}

// A worker that crashes is started again from what the master read long ago: its youth proves nothing.
func TestRespawnedWorkersProveNothing(t *testing.T) {
	t.Parallel()
	s := running(t)
	s.apply(File{Path: s.out, Data: gen("g1")})
	if err := os.WriteFile(s.out, gen("g2"), 0o644); err != nil { // installed, and never loaded
		t.Fatal(err)
	}
	tickOver()
	before := s.workers()
	for _, w := range before {
		if err := syscall.Kill(w.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	serverstest.Eventually(t, soon, func() error {
		if now := s.workers(); len(now) != len(before) || slices.ContainsFunc(now, func(p process) bool { return slices.Contains(before, p) }) {
			return fmt.Errorf("workers %v", now)
		}
		return nil
	})
	if out := s.apply(File{Path: s.out, Data: gen("g2")}); !out.Reloaded || !out.Running {
		t.Errorf("outcome %+v", out)
	}
	s.serves("g2")
}

func TestSweep(t *testing.T) {
	s := running(t)
	s.write("conf.d/.out.conf.lbd-0123", "borken;")
	s.write(".nginx.conf.lbd-0123", "borken;")
	s.write("state/shadow-1/2-x", "borken;")
	s.apply(File{Path: s.out, Data: gen("g1")})
	s.clean()
	s.serves("g1")
}

func TestOriginalIsKeptOnce(t *testing.T) {
	s := running(t)
	other := filepath.Join(s.dir, "conf.d/new.conf")
	for i := range 2 {
		s.apply(File{Path: s.out, Data: gen(fmt.Sprint("g", i+1))},
			File{Path: other, Data: fmt.Appendf(nil, "map $host $m { default %d; }\n", i)})
	}
	list, err := os.ReadDir(filepath.Join(s.dir, "state/originals"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
		text, err := os.ReadFile(filepath.Join(s.dir, "state/originals", e.Name()))
		if err != nil || string(text) != map[bool]string{true: string(gen("g0")), false: ""}[filepath.Ext(e.Name()) == ".conf"] {
			t.Errorf("%s holds %q, %v", e.Name(), text, err)
		}
	}
	if len(names) != 2 {
		t.Errorf("originals: %q", names)
	}
}

func TestModeAndOwnerStay(t *testing.T) {
	s := running(t)
	if err := os.Chmod(s.out, 0o640); err != nil {
		t.Fatal(err)
	}
	s.apply(File{Path: s.out, Data: gen("g1")})
	if info, err := os.Stat(s.out); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
