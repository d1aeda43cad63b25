package nginx

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/step"
)

// edit replaces text in the main configuration file.
func (s *site) edit(old, text string) {
	s.t.Helper()
	name := filepath.Join(s.dir, "nginx.conf")
	conf, err := os.ReadFile(name)
	if err != nil || !strings.Contains(string(conf), old) {
		s.t.Fatalf("%v: no %q in\n%s", err, old, conf)
	}
	s.write("nginx.conf", strings.Replace(string(conf), old, text, 1))
}

// Somebody takes the include statement out: with a reload or a restart Nginx serves our files no more, though they are as
// they were proven.
func TestTheIncludeIsTakenOut(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{true, false} {
		s := newSite(t, "include conf.d/*.conf;", map[string]string{"conf.d/out.conf": string(gen("g0"))})
		if running {
			s.start()
		}
		g1 := File{Path: s.out, Data: gen("g1")}
		if out := s.apply(g1); out.Running != running {
			t.Fatalf("outcome %+v", out)
		}
		s.edit("include conf.d/*.conf;", "map $host $gen { default theirs; }")
		out := s.refuses(step.Test, []File{g1}, "no include statement of")
		if out.Running || !out.Foreign {
			t.Errorf("running %v: outcome %+v", running, out)
		}
		s.edit("map $host $gen { default theirs; }", "include conf.d/*.conf;")
		if out := s.apply(g1); out.Running != running || out.Reloaded != running {
			t.Errorf("running %v: outcome %+v once it is back: nginx may have read the other", running, out)
		}
	}
}

// What the operator changes in the configuration beside our files is known, though nothing of ours has changed.
func TestShutdownTimeoutIsLearntAnew(t *testing.T) {
	t.Parallel()
	s := running(t)
	g1 := File{Path: s.out, Data: gen("g1")}
	s.apply(g1)
	for _, want := range []time.Duration{0, 90 * time.Second} {
		if want > 0 {
			s.edit("worker_processes 2;", "worker_processes 2; worker_shutdown_timeout 90s;")
		}
		if out := s.apply(g1); out.Reloaded {
			t.Errorf("outcome %+v", out)
		}
		if st, err := s.n.State(t.Context()); err != nil || st.ShutdownTimeout != want {
			t.Errorf("worker_shutdown_timeout is %s (%v), want %s", st.ShutdownTimeout, err, want)
		}
	}
}
