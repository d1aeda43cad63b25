package nginx

import (
	"os"
	"path/filepath"
	"slices"
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
