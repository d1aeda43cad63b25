package nginx

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestParseBuild(t *testing.T) {
	debian := "nginx version: nginx/1.22.1\nbuilt with OpenSSL\nconfigure arguments: --with-cc-opt='-g --prefix=no' " +
		"--prefix=/usr/share/nginx --conf-path=/etc/nginx/nginx.conf --http-log-path=/x --error-log-path=stderr"
	for said, want := range map[string]build{
		debian: {version: 1022001, prefix: "/usr/share/nginx", conf: "/etc/nginx/nginx.conf", errorLog: "stderr"},
		"nginx version: openresty/1.29.2.1\nconfigure arguments: --prefix='/opt/o r'": {version: 1029002, prefix: "/opt/o r", conf: "conf/nginx.conf", errorLog: "logs/error.log"},
		"": {prefix: "/usr/local/nginx", conf: "conf/nginx.conf", errorLog: "logs/error.log"},
	} {
		if got := parseBuild(said); got != want {
			t.Errorf("%q:\n got %+v\nwant %+v", said, got, want)
		}
	}
}

func TestParseArgs(t *testing.T) {
	debian := build{prefix: "/usr/share/nginx", conf: "/etc/nginx/nginx.conf"}
	source := build{prefix: "/usr/local/nginx", conf: "conf/nginx.conf"}
	for _, tc := range []struct {
		title  string
		b      build
		conf   string
		global string
	}{
		{"nginx: master process /usr/sbin/nginx -g daemon on; master_process on;", debian, "/etc/nginx/nginx.conf", "daemon on; master_process on;"},
		{"nginx: master process nginx", source, "/usr/local/nginx/conf/nginx.conf", ""},
		{"nginx: master process nginx -p /srv/x/", source, "/srv/x/conf/nginx.conf", ""},
		{"nginx: master process nginx -p /srv/x", debian, "/etc/nginx/nginx.conf", ""},
		{"nginx: master process nginx -c /a/b.conf -e stderr -g pid /x;", source, "/a/b.conf", "pid /x;"},
		{"nginx: master process nginx -cb.conf -p/srv", source, "/srv/b.conf", ""},
		{"nginx: master process nginx -q -c /a b/c.conf", source, "/a b/c.conf", ""},
	} {
		a := parseArgs(tc.title)
		if got := a.confIn(tc.b); got != tc.conf || a.global != tc.global {
			t.Errorf("%q: %q, %q", tc.title, got, a.global)
		}
	}
}

func TestWorkersMet(t *testing.T) {
	for _, tc := range []struct {
		w            workers
		have, former int
		want         bool
	}{
		{workers{number: 4}, 4, 2, true}, {workers{number: 4}, 2, 2, false}, {workers{number: 8, auto: true}, 2, 2, true},
		{workers{number: 8, auto: true}, 8, 2, true}, {workers{number: 8, auto: true}, 3, 2, false}, {workers{}, 3, 3, true}, {workers{}, 3, 4, false},
	} {
		if got := tc.w.met(tc.have, tc.former); got != tc.want {
			t.Errorf("%v.met(%d, %d) = %v", tc.w, tc.have, tc.former, got)
		}
	}
}

func TestFinalLines(t *testing.T) {
	for line, want := range map[string]bool{
		"2026/11/22 12:00:00 [emerg] 1#1: bind() to 127.0.0.1:80 failed (98: Address already in use)": false,
		"2026/11/22 12:00:00 [emerg] 1#1: still could not bind()":                                     true,
		"2026/11/22 12:00:00 [emerg] 1#1: bind() to 127.0.0.1:80 failed (13: Permission denied)":      true,
		"2026/11/22 12:00:00 [alert] 1#1: worker process 2 exited on signal 9":                        false,
	} {
		if final(line) != want {
			t.Errorf("final(%q) = %v", line, !want)
		}
	}
}

func TestComplaint(t *testing.T) {
	for said, want := range map[string]string{
		"2026/11/22 12:00:00 [emerg] 1#1: no\nnginx: [emerg] no\nnginx: configuration file /x test failed\n": "no",
		"nginx: [warn] hm\nnginx: [emerg] a # b: c\n2026/11/22 12:00:00 [alert] 12#3: *5 d\n":                "a # b: c; *5 d",
		"Segmentation fault\n": "Segmentation fault",
	} {
		if got := complaint(said); got != want {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
}

// The configuration says how many workers there are to be; more or fewer than before.
func TestChangedNumberOfWorkers(t *testing.T) {
	t.Parallel()
	s := running(t)
	for i, number := range []string{"4", "auto", "1"} {
		conf, err := os.ReadFile(s.nginx.Conf)
		if err != nil {
			t.Fatal(err)
		}
		s.write("nginx.conf", regexp.MustCompile(`worker_processes \w+`).ReplaceAllString(string(conf), "worker_processes "+number))
		out := s.apply(File{Path: s.out, Data: gen(fmt.Sprint("w", i))})
		want := map[string]int{"4": 4, "auto": onlineCPUs(), "1": 1}[number]
		if !out.Running || out.Workers != want {
			t.Errorf("worker_processes %s: outcome %+v", number, out)
		}
	}
}

func TestProcessTimes(t *testing.T) {
	s := running(t)
	start, err := s.workers()[0].started()
	if err != nil || time.Since(start) > time.Minute || time.Since(start) < -10*time.Millisecond {
		t.Errorf("a worker began %v ago, %v", time.Since(start), err)
	}
}

func TestNotRunning(t *testing.T) {
	t.Parallel()
	s := running(t)
	stranger := exec.Command("sleep", "60")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = stranger.Process.Kill()
		_ = stranger.Wait()
	}()
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	worker := strconv.Itoa(s.workers()[0].PID)
	other := running(t)
	for i, tc := range []struct{ name, pid, why string }{
		{"no pid file", "-", "there is no pid file"},
		{"empty", "", "holds no process id"},
		{"words", "x\n", "holds no process id"},
		{"negative", "-1\n", "holds no process id"},
		{"stale", strconv.Itoa(ended.Process.Pid), "has ended"},
		{"a stranger", strconv.Itoa(stranger.Process.Pid), "is no nginx master"},
		{"a worker", worker, "is no nginx master"},
		{"another nginx", strconv.Itoa(other.nginx.Master()), "is the master of " + other.nginx.Conf},
	} {
		t.Run(tc.name, func(t *testing.T) {
			same, same2 := s.undisturbed(), other.undisturbed()
			pid := filepath.Join(s.dir, "other.pid")
			_ = os.Remove(pid)
			if tc.pid != "-" {
				s.write("other.pid", tc.pid)
			}
			n := s.open(Options{PID: pid})
			data := gen(fmt.Sprint("n", i))
			out, err := n.Apply(t.Context(), []File{{Path: s.out, Data: data}})
			if err != nil || !out.Changed || out.Running || out.Reloaded {
				t.Errorf("outcome %+v, %v", out, err)
			}
			s.holds("conf.d/out.conf", data)
			st, err := n.State(t.Context())
			if err != nil || st.Master != 0 || !strings.Contains(st.Why, tc.why) {
				t.Errorf("state %+v, %v; want why %q", st, err, tc.why)
			}
			same()
			same2()
			if !(process{PID: stranger.Process.Pid, Start: mustStat(t, stranger.Process.Pid).Start}).alive() {
				t.Error("the stranger was signalled")
			}
		})
	}
	st, err := s.n.State(t.Context())
	if err != nil || st.Master != s.nginx.Master() || st.Workers != 2 || st.Why != "" {
		t.Errorf("state %+v, %v", st, err)
	}
	s.apply(File{Path: s.out, Data: gen("g9")})
	s.serves("g9")
}

func mustStat(t *testing.T, pid int) process {
	t.Helper()
	p, _, ok := stat(pid)
	if !ok {
		t.Fatalf("process %d has ended", pid)
	}
	return p
}
