package nginx

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

func TestErrorLogFresh(t *testing.T) {
	s := &site{t: t, dir: serverstest.Dir(t)}
	path := filepath.Join(s.dir, "error.log")
	const other, part, bad = "2026/11/22 12:00:00 [emerg] 8#8: of a test\n2026/11/22 12:00:00 [error] 7#7: [emerg] no\n", "2026/11/22 12:00:00 [emerg]", " 7#7: mine\n"
	old := part + bad
	s.write("error.log", old)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	l := &errorLog{path: path, id: idOf(info), offset: info.Size()}
	check := func(what string, want ...string) {
		t.Helper()
		if got := l.fresh(7); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	mine := (part + bad)[:len(part+bad)-1]
	check("nothing new")
	s.append("error.log", other+part)
	check("half a line of ours, and others'")
	s.append("error.log", bad)
	check("the other half", mine)
	check("only once")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	check("moved away")
	s.write("error.log", old)
	check("rotated", mine)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	check("truncated")
	s.append("error.log", old)
	check("after that", mine)
}

func TestErrorLogsOfConfiguration(t *testing.T) {
	s := newSite(t, "", map[string]string{"logs.conf": "error_log also.log; error_log stderr; error_log syslog:server=x; error_log /dev/null;"})
	s.write("nginx.conf", "include logs.conf;\n"+head(s.dir)+"error_log http.log; }")
	as, err := s.n.setup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range s.n.errorLogs(as, process{PID: os.Getpid()}, walk(as.conf, nil)) {
		if filepath.Dir(l.path) == s.dir {
			got = append(got, filepath.Base(l.path))
		}
	}
	for _, name := range []string{"also.log", "error.log"} {
		if !slices.Contains(got, name) {
			t.Errorf("%s is not watched: %q", name, got)
		}
	}
	if slices.Contains(got, "http.log") {
		t.Errorf("a log of requests is watched: %q", got)
	}
}

// Wherever Nginx writes, a refused reload is noticed: at once where the log can be read, else for want of new workers.
func TestRefusedReloadWithErrorLog(t *testing.T) {
	t.Parallel()
	const told, silent = "still could not bind()", ": 2 of 2 former workers still take connections" // no proof within so many seconds
	for _, tc := range []struct {
		name string
		log  string // for error_log; DIR is the site's folder
		do   func(s *site) error
		want string
	}{
		{"a file", "DIR/error.log", nil, told},
		{"two files", "DIR/error.log; error_log DIR/more.log emerg", nil, told},
		{"moved away", "DIR/error.log", func(s *site) error { return os.Rename(s.dir+"/error.log", s.dir+"/error.log.1") }, told},
		{"moved away and made anew", "DIR/error.log", func(s *site) error {
			return errors.Join(os.Rename(s.dir+"/error.log", s.dir+"/error.log.1"), os.WriteFile(s.dir+"/error.log", nil, 0o644))
		}, told},
		{"truncated", "DIR/error.log", func(s *site) error { return os.Truncate(s.dir+"/error.log", 0) }, told},
		{"removed", "DIR/error.log", func(s *site) error { return os.Remove(s.dir + "/error.log") }, told},
		{"full of old trouble", "DIR/error.log", func(s *site) error {
			s.append("error.log", fmt.Sprintf("2026/11/22 12:00:00 [emerg] %d#0: of yesterday\n", s.nginx.Master()))
			return nil
		}, told},
		{"stderr", "stderr", nil, told},
		{"/dev/stderr, a file", "/dev/stderr", nil, told},
		{"a FIFO", "DIR/fifo", nil, silent},
		{"syslog", "syslog:server=127.0.0.1:9", nil, told}, // started with -e stderr, it writes there, too
		{"nothing", "/dev/null", nil, silent},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "include conf.d/*.conf;", map[string]string{"conf.d/out.conf": string(gen("g0"))})
			s.write("nginx.conf", strings.Replace(s.read("nginx.conf"), "error_log "+s.dir+"/error.log notice;", "error_log "+strings.ReplaceAll(tc.log, "DIR", s.dir)+";", 1))
			if err := syscall.Mkfifo(s.dir+"/fifo", 0o600); err != nil {
				t.Fatal(err)
			}
			fifo, err := os.OpenFile(s.dir+"/fifo", os.O_RDWR, 0) // Nginx waits for a reader
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { fifo.Close() })
			s.start()
			if tc.do != nil {
				if err := tc.do(s); err != nil {
					t.Fatal(err)
				}
			}
			if tc.want == silent { // else the log tells, 2.5 s after the signal on a quiet machine
				s.n = s.open(Options{ReloadTimeout: minReloadTimeout})
			}
			port, free := takePort(t)
			defer free()
			_, err = s.n.Apply(t.Context(), []File{{Path: s.out, Data: append(gen("g1"), fmt.Sprintf("server { listen 127.0.0.1:%d; }\n", port)...)}}, 1)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "of yesterday") {
				t.Errorf("%v; want %q", err, tc.want)
			}
			s.holds("conf.d/out.conf", gen("g0"))
			s.serves("g0")
			s.n.opt.ReloadTimeout = soon
			if out := s.apply(File{Path: s.out, Data: gen("g2")}); !out.Running {
				t.Errorf("outcome %+v", out)
			}
			s.serves("g2")
		})
	}
}
