package nginx

import (
	"fmt"
	"os"
	"regexp"
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
