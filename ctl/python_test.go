package ctl

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// python is a node with the original's agent; do returns the details of its report.
func (s *site) python(id string, do func(c map[string]any) string) {
	s.t.Helper()
	ctx, key := s.t.Context(), "bazbeans:node:"+id
	s.node(id, true)
	s.do(s.rdb.HDel(ctx, key+":status", "agent", "instance"),
		s.rdb.Set(ctx, key+":heartbeat", `{"timestamp":1772366397.5,"node_id":"`+id+`","cpu_percent":12.4,"memory_percent":50.6,"disk_percent":70}`, 0))
	done, stop := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ; {
			select {
			case <-stop:
				return
			default:
			}
			raw, err := s.rdb.LPop(ctx, key+":commands").Result()
			if err != nil {
				time.Sleep(20 * time.Millisecond)
				continue
			}
			var c map[string]any
			if err := json.Unmarshal([]byte(raw), &c); err != nil {
				s.t.Error(err)
			}
			details := do(c)
			n++
			s.rdb.HSet(ctx, key+":status", "status", fmt.Sprint("executed_", c["type"]), "details", details, "timestamp", fmt.Sprint(1772366398+n))
		}
	}()
	s.t.Cleanup(func() { close(stop); <-done })
}

const pythonWell = `{"status":"completed","healthy":true}`

// What bbctl makes of a Python agent's report is in the command's record, so that result and --resume know it.
func TestPythonsResultsAreRecorded(t *testing.T) {
	s := newSite(t)
	s.balancer("lb1", nil)
	var mended atomic.Bool
	s.python("py1", func(map[string]any) string { return pythonWell })
	s.python("py2", func(c map[string]any) string {
		if c["type"] == "update" && !mended.Load() {
			return `{"error":"no image"}`
		}
		return pythonWell
	})
	if r := s.update(); r.code != 1 || !strings.HasPrefix(r.stdout, "py1: updated") || !strings.Contains(r.stderr, "py2: failed while updating: update failed: no image") {
		t.Fatalf("%+v", r)
	}
	ids := s.rdb.LRange(t.Context(), "bazbeans:node:py2:recent", 0, 0).Val()
	if r := s.run("result", ids[0]); r.code != 1 || !strings.Contains(r.stdout, "result       failed\nwhy          update failed: no image\n") {
		t.Errorf("%+v", r)
	}
	mended.Store(true)
	if r := s.update("--resume", "--deadline", "1m"); r.code != 0 || !strings.HasPrefix(r.stdout, "py2: updated") || !strings.Contains(r.stderr, "2 of 2 updated") {
		t.Errorf("%+v", r)
	}
}

// An agent that is busy with somebody else's command reports that while ours waits, or as it takes ours.
func TestPythonBusyWithAnother(t *testing.T) {
	s := newSite(t)
	theirs, ours := make(chan struct{}), make(chan struct{})
	begun := make(chan struct{})
	s.python("py1", func(c map[string]any) string {
		if c["command"] == "theirs" {
			close(begun)
			<-theirs
			return `{"stdout":"theirs","returncode":0}`
		}
		<-ours
		return `{"stderr":"ours failed","returncode":1}`
	})
	s.do(s.rdb.RPush(t.Context(), "bazbeans:node:py1:commands", `{"type":"exec","command":"theirs"}`))
	<-begun
	r := s.start("exec", "py1", "--", "ours")
	time.Sleep(time.Second) // of the story, not of the test: bbctl sees ours wait
	close(theirs)
	time.Sleep(300 * time.Millisecond)
	close(ours)
	r.wantEnd(t, 1)
	if strings.Contains(r.stdout.String(), "theirs") || !strings.Contains(r.stderr.String(), "exit code 1") {
		t.Errorf("%s%s", r.stdout.String(), r.stderr.String())
	}
}

func TestPythonsReportIsJudgedWhole(t *testing.T) {
	s := newSite(t)
	var report atomic.Pointer[string]
	s.python("py1", func(map[string]any) string { return *report.Load() })
	long := func(n int) string {
		b, err := json.Marshal(map[string]any{"stdout": strings.Repeat("pulling\n", n/8), "returncode": 0})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, c := range []struct {
		name, report string
		code         int
		says         string
		state        pool.CommandState
	}{
		{"long", long(2 * pool.OutputMost), 0, "", pool.Succeeded},
		{"too long", long(5 << 20), 1, "too long to be read: how it went is unknown", pool.Unknown},
		{"no JSON", "{", 1, "how it went is unknown", pool.Unknown},
		{"an error by status", `{"status":"error","message":"compose failed"}`, 1, `restart failed: status "error"`, pool.Failed},
		{"well", pythonWell, 0, "", pool.Succeeded},
	} {
		report.Store(&c.report)
		r := s.run("restart", "py1")
		if r.code != c.code || !strings.Contains(r.stderr, c.says) {
			t.Errorf("%s: %d %s", c.name, r.code, r.stderr)
		}
		last, err := s.p.LastCommands(t.Context(), "py1", 1)
		if err != nil || len(last) != 1 || last[0].State != c.state || last[0].Ended.IsZero() {
			t.Errorf("%s: recorded %d, %v", c.name, len(last), err)
		}
	}
}

// What a Python agent would leave out without a word is not sent to it.
func TestDeployFileToPython(t *testing.T) {
	s := newSite(t)
	s.python("py1", func(map[string]any) string { return `{"status":"deployed"}` })
	file := t.TempDir() + "/f"
	deploy := func(content string, flags ...string) ran {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return s.run(append([]string{"deploy-file", "py1", file, "/opt/app/x"}, flags...)...)
	}
	const neither = "a Python agent sets neither mode nor owner of a file: leave out --mode and --owner"
	for _, c := range []struct{ content, flag, says string }{{"text", "--mode=0640", neither}, {"text", "--owner=app", neither}, {"\xff", "--yes", "a Python agent takes text only"}} {
		if got, want := deploy(c.content, c.flag), (ran{1, "", "bbctl: py1: deploy-file was not sent: " + c.says + "\n"}); got != want {
			t.Errorf("%s: %+v", c.flag, got)
		}
	}
	if r := deploy("text"); r.code != 0 || !strings.HasPrefix(r.stdout, "py1: deploy-file was carried out") {
		t.Errorf("%+v", r)
	}
	// A command of another type may have arguments of these names.
	if r := s.run("run", "cache", "py1", "--arg", "mode=x", "--arg", "encoding=y"); r.code != 0 {
		t.Errorf("%+v", r)
	}
}
