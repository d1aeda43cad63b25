package nginx

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// hold opens a request that a worker of today must finish: it drains until end is called.
func (s *site) hold() (end func()) {
	s.t.Helper()
	c, err := new(net.Dialer).DialContext(s.t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
	if err == nil {
		_, err = c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n")) // and no end of it
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return func() { c.Close() }
}

func (s *site) state(want func(State) bool) State {
	s.t.Helper()
	var st State
	serverstest.Eventually(s.t, soon, func() error {
		var err error
		if st, err = s.n.State(s.t.Context()); err != nil || !want(st) {
			return fmt.Errorf("state %+v, %v", st, err)
		}
		return nil
	})
	return st
}

// Draining workers are counted, and sorted by the configuration that they are of.
func TestFormerGenerations(t *testing.T) {
	t.Parallel()
	s := running(t)
	held := func() { // a connection that an accept has not reached yet would not drain
		t.Helper()
		s.serves(s.answer())
	}
	var ends []func()
	begin := time.Now()
	for i := range 3 {
		ends = append(ends, s.hold())
		held()
		s.apply(File{Path: s.out, Data: gen(fmt.Sprint("d", i))})
	}
	st := s.state(func(st State) bool { return st.Draining == 3 })
	if st.Former != 3 || st.Workers != 2 || st.DrainingSince.Before(begin) || time.Since(st.DrainingSince) > time.Since(begin) {
		t.Errorf("state %+v", st)
	}
	ends[0]()
	if old := s.state(func(st State) bool { return len(st.Old) == 2 }).Old; old[0].PID == 0 || old[0].Connections != 1 || old[1].Connections != 1 {
		t.Errorf("old workers %+v", old)
	}
	if now := s.state(func(st State) bool { return st.Draining == 2 }); now.Former != 2 || !now.DrainingSince.After(st.DrainingSince) {
		t.Errorf("state %+v, was %+v", now, st)
	}

	// A new lbd tells them apart by when they were started.
	s.n = s.open(Options{})
	if st := s.state(func(State) bool { return true }); st.Former != 2 || st.Draining != 2 || st.DrainingSince.IsZero() {
		t.Errorf("state after a restart %+v", st)
	}
	s.hold()
	held()
	s.apply(File{Path: s.out, Data: gen("d9")})
	if st := s.state(func(st State) bool { return st.Draining == 3 }); st.Former != 3 {
		t.Errorf("state with one of our own %+v", st)
	}
	ends[1]()
	ends[2]()
	s.state(func(st State) bool { return st.Draining == 1 && st.Former == 1 })
}

func TestStarts(t *testing.T) {
	for _, c := range []struct {
		starts []uint64
		want   int
	}{
		{nil, 0},
		{[]uint64{500}, 1},
		{[]uint64{503, 500, 501, 512}, 1}, // forks of a slow machine
		{[]uint64{500, 501, 511, 512}, 2},
		{[]uint64{900, 500, 700, 701}, 3},
	} {
		var list []process
		for i, start := range c.starts {
			list = append(list, process{PID: i + 1, Start: start})
		}
		if got := starts(list); got != c.want {
			t.Errorf("started at %v: %d times, want %d", c.starts, got, c.want)
		}
	}
}

// As whom workers run is told of former ones, too.
func TestUsersOfWorkers(t *testing.T) {
	t.Parallel()
	s := running(t)
	s.hold()
	s.serves("g0")
	if st := s.state(func(st State) bool { return st.Workers == 2 }); !slices.Equal(st.Users, []int{os.Getuid()}) {
		t.Errorf("state %+v", st)
	}
	if os.Getuid() != 0 {
		t.Fatal("run this as root: the workers run as another user then")
	}
	s.write("nginx.conf", strings.Replace(s.read("nginx.conf"), "user root;", "user nobody root;", 1))
	s.apply(File{Path: s.out, Data: gen("g1")})
	st := s.state(func(st State) bool { return st.Draining == 1 })
	if slices.Sort(st.Users); !slices.Equal(st.Users, []int{0, 65534}) {
		t.Errorf("state %+v", st)
	}
}

// What was asked for to replace workers, and did not, makes no generation.
func TestFailedReloadMakesNoGeneration(t *testing.T) {
	t.Parallel()
	s := running(t)
	port, free := takePort(t)
	defer free()
	s.hold()
	s.serves("g0")
	if _, err := s.n.Apply(t.Context(), []File{{Path: s.out, Data: append(gen("g1"), fmt.Sprintf("server { listen 127.0.0.1:%d; }\n", port)...)}}, 1); err == nil {
		t.Fatal("a taken port is no error")
	}
	if st := s.state(func(st State) bool { return st.Draining == 1 }); st.Former != 1 {
		t.Errorf("state %+v", st)
	}
}

func TestShutdownTimeoutAndHint(t *testing.T) {
	t.Parallel()
	s := newSite(t, "include conf.d/*.conf;", map[string]string{"conf.d/out.conf": string(gen("g0"))})
	conf := func(line string) {
		s.write("nginx.conf", line+head(s.dir)+"include conf.d/*.conf;\nserver { listen unix:"+s.dir+"/s; return 200 $gen; }\n}\n")
	}
	want := func(d time.Duration) {
		t.Helper()
		if st, err := s.n.State(t.Context()); err != nil || st.ShutdownTimeout != d {
			t.Errorf("state %+v, %v; want a timeout of %v", st, err, d)
		}
	}
	conf("worker_shutdown_timeout 1m30s;")
	want(90 * time.Second)
	conf("")
	s.apply(File{Path: s.out, Data: gen("g1")})
	want(0)
	s.n = s.open(Options{Global: "worker_shutdown_timeout 500ms;", PID: filepath.Join(s.dir, "other.pid")})
	want(500 * time.Millisecond)
	out := s.apply(File{Path: s.out, Data: gen("g2")})
	st := s.state(func(State) bool { return true })
	for _, why := range []string{out.Why, st.Why, s.apply(File{Path: s.out, Data: gen("g2")}).Why} {
		if !strings.Contains(why, "there is no pid file") || !strings.Contains(why, "says pid "+s.dir+"/nginx.pid; nginx.pid should be the same") {
			t.Errorf("why: %s", why)
		}
	}
}

func TestParseTime(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"10": 10 * time.Second, "0": 0, "10s": 10 * time.Second, "1m 30s": 90 * time.Second, "1h5": time.Hour + 5*time.Second, "20ms": 20 * time.Millisecond,
		"1d": 24 * time.Hour, "": 0, "x": 0, "10x": 0, "99999999999999999999": 0,
	} {
		if got := parseTime(text); got != want {
			t.Errorf("parseTime(%q) = %v, want %v", text, got, want)
		}
	}
}
