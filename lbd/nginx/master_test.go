package nginx

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
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
		if got := a.confIn(tc.b); got != tc.conf || a.Global != tc.global {
			t.Errorf("%q: %q, %q", tc.title, got, a.Global)
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

// pretender runs `sleep` with the title of a master of this configuration that has extra arguments, as user uid.
func (s *site) pretender(uid int, binary, extra string) *exec.Cmd {
	s.t.Helper()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		s.t.Fatal(err)
	}
	dir := serverstest.Dir(s.t)
	text, err := os.ReadFile(sleep)
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o755), os.WriteFile(filepath.Join(dir, binary), text, 0o755), os.Chmod(filepath.Join(dir, binary), 0o755)) // whatever the umask
	}
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: filepath.Join(dir, binary), Args: []string{strings.TrimSpace(masterTitle + " nginx -c " + s.nginx.Conf + " " + extra), "600"}}
	if uid != os.Geteuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func TestNotRunning(t *testing.T) {
	t.Parallel()
	s := running(t)
	stranger := s.pretender(os.Geteuid(), "sleep", "")
	alien := stranger
	if os.Geteuid() == 0 { // else there is no other user to be
		alien = s.pretender(65534, "nginx", "-g load_module/evil.so;")
	}
	silent := exec.Command("sleep", "600")
	if err := silent.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = silent.Process.Kill()
		_ = silent.Wait()
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
		{"a stranger", strconv.Itoa(silent.Process.Pid), "is no nginx master"},
		{"a stranger that calls itself one", strconv.Itoa(stranger.Process.Pid), "/sleep, not "},
		{"a stranger of another user", strconv.Itoa(alien.Process.Pid), map[bool]string{true: "is user 65534's", false: "/sleep, not "}[os.Geteuid() == 0]},
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
			out, err := n.Apply(t.Context(), []File{{Path: s.out, Data: data}}, 1)
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
			for _, cmd := range []*exec.Cmd{silent, stranger, alien} {
				if !mustStat(t, cmd.Process.Pid).alive() {
					t.Errorf("%s was signalled", cmd)
				}
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

// A pid that was given to another process after the look is not signalled.
func TestReusedPid(t *testing.T) {
	s := running(t)
	p := mustStat(t, s.nginx.Master())
	same := s.undisturbed()
	p.Start--
	if err := p.hangup(); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("signalled: %v", err)
	}
	if p.alive() || s.n.proven(p, nil) {
		t.Error("another process is taken for the one that is gone")
	}
	same()
}

// What the operator gave to Nginx holds for the test as well, so that lbd need not be told.
func TestPrefixAndGlobalOfTheRunningMaster(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", map[string]string{"conf.d/out.conf": string(gen("g0"))})
	conf := strings.Replace(head(s.dir), s.dir+"/error.log", "logs/error.log", 1) // relative to the prefix
	conf = strings.Replace(conf, "worker_processes 2;\n", "", 1) +
		fmt.Sprintf("include conf.d/*.conf;\nserver { listen 127.0.0.1:%d; location / { return 200 $gen; } }\n}\n", s.port)
	s.write("nginx.conf", conf)
	s.write("prefix/logs/error.log", "")
	s.link("../nginx.conf", "named/nginx.conf") // its relative includes start here
	s.write("named/conf.d/out.conf", string(gen("g0")))
	for _, prefix := range []string{filepath.Join(s.dir, "prefix"), "prefix"} {
		master := exec.Command("nginx", "-p", prefix, "-c", filepath.Join(s.dir, "named/nginx.conf"), "-e", "stderr", "-g", "daemon off; worker_processes 2;")
		master.Dir, master.Stderr = s.dir, t.Output()
		if err := master.Start(); err != nil {
			t.Fatal(err)
		}
		stop := func() {
			_ = master.Process.Signal(syscall.SIGTERM)
			_ = master.Wait()
		}
		t.Cleanup(stop)
		serverstest.Eventually(t, soon, func() error {
			if p, _, ok := stat(master.Process.Pid); !ok || len(p.children()) != 2 {
				return errors.New("no workers yet")
			}
			return nil
		})
		n, err := New(Options{Conf: filepath.Join(s.dir, "nginx.conf"), PID: filepath.Join(s.dir, "nginx.pid"), StateDir: filepath.Join(s.dir, "state", prefix)})
		if err != nil {
			t.Fatal(err)
		}
		check := func(g string, running bool) {
			t.Helper()
			out, err := n.Apply(t.Context(), []File{{Path: filepath.Join(s.dir, "named/conf.d/out.conf"), Data: gen(g)}}, 1)
			if err != nil || out.Running != running {
				t.Fatalf("outcome %+v, %v", out, err)
			}
			if running {
				s.serves(g)
			}
		}
		check("a", true)
		// Stopped, and still tested as it was run; by a new lbd, too.
		stop()
		check("b", false)
		opt := n.opt
		if n, err = New(opt); err != nil {
			t.Fatal(err)
		}
		check("c", false)
	}
}
