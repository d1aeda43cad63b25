package ctl

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	completeWithin = soon // a machine that stands still completes nothing
	goleak.VerifyTestMain(m)
}

// noon is the time at which the fixed pool is looked at.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// site is a real Redis with a pool in it, and bbctl in front.
type site struct {
	t   *testing.T
	srv *servers.Redis
	url string
	rdb *redis.Client
	p   *pool.Pool
}

// newSite starts it; args are more arguments of redis-server.
func newSite(t *testing.T, args ...string) *site {
	t.Helper()
	t.Setenv("HOME", t.TempDir()) // no config file of this machine
	t.Setenv("XDG_CONFIG_HOME", "")
	r := serverstest.Redis(t, args...)
	p, err := pool.Open(pool.Config{URL: r.URL()})
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: r.Addr()})
	t.Cleanup(func() { _, _ = p.Close(), rdb.Close() })
	return &site{t: t, srv: r, url: r.URL(), rdb: rdb, p: p}
}

// ran is what one bbctl came to.
type ran struct {
	code           int
	stdout, stderr string
}

// run runs bbctl at noon; with a width it prints to a terminal that wants no colour.
func (s *site) run(args ...string) ran { return s.runWide(0, args...) }

func (s *site) runWide(width int, args ...string) ran {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	ses := newSession(nil, &stdout, &stderr)
	ses.now, ses.width = func() time.Time { return noon }, width
	code := run(s.t.Context(), ses, append([]string{"--redis-url", s.url, "--as", "alice@desk"}, args...))
	return ran{code, stdout.String(), stderr.String()}
}

// must is run for what has to work without a word on stderr.
func (s *site) must(args ...string) string {
	s.t.Helper()
	r := s.run(args...)
	if r.code != 0 || r.stderr != "" {
		s.t.Fatalf("bbctl %s: exit %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// want runs bbctl and compares all of what it came to.
func (s *site) want(code int, stdout, stderr string, args ...string) {
	s.t.Helper()
	if got, want := s.run(args...), (ran{code, stdout, stderr}); got != want {
		s.t.Errorf("bbctl %s: exit %d\n%s%s---- want %d\n%s%s", strings.Join(args, " "), got.code, got.stdout, got.stderr, code, stdout, stderr)
	}
}

// stop takes Redis away.
func (s *site) stop() {
	s.t.Helper()
	if err := s.srv.Stop(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) do(what ...redis.Cmder) {
	s.t.Helper()
	for _, cmd := range what {
		if cmd.Err() != nil {
			s.t.Fatal(cmd.Err())
		}
	}
}

// node writes a live node of our agent as Redis has it; fields change its hash.
func (s *site) node(id string, active bool, fields ...any) {
	s.t.Helper()
	ctx, key := s.t.Context(), "bazbeans:node:"+id
	s.do(s.rdb.SAdd(ctx, "bazbeans:nodes:all", id),
		s.rdb.HSet(ctx, key+":status", "status", "active", "details", "", "timestamp", "1772366398.5", "data_center", "dc1",
			"is_frozen", "false", "is_active", "true", "address", "10.0.1.1", "port", "8000", "weight", "1", "labels", `{"zone":"a"}`,
			"agent", "1.2.0", "instance", "1772280000000/host", "rev", "1772362800000"), // an hour before noon
		s.rdb.Set(ctx, key+":heartbeat", `{"timestamp":1772366397.5,"node_id":"`+id+`","agent":"1.2.0","cpu_percent":12.4,"memory_percent":50.6,"disk_percent":70}`, 0))
	if active {
		s.do(s.rdb.SAdd(ctx, "bazbeans:nodes:active", id))
	}
	if len(fields) > 0 {
		s.do(s.rdb.HSet(ctx, key+":status", fields...))
	}
}

// fixed writes a pool with a node in every state.
func (s *site) fixed() {
	s.t.Helper()
	ctx := s.t.Context()
	s.node("web1", true, "rev", "1772193600000", "address", "2001:db8::1", "labels", `{"zone":"b","role":"app"}`)
	s.node("web2", true)
	s.do(s.rdb.HSet(ctx, "bazbeans:nodes:frozen", "web2", `{"by":"bob@desk","at":"2026-03-01T11:55:00.000Z","reason":"kernel update, back at two or so, ask bob"}`))
	s.node("web3", false, "is_frozen", "true", "details", "disk: 99% \x1b[31mfull\x1b[0m\nrm -rf", "self_freeze", "disk: 99% \x1b[31mfull\x1b[0m\nrm -rf", "rev", "1772366390000")
	s.node("web4", true, "timestamp", "1772366000")
	s.do(s.rdb.Del(ctx, "bazbeans:node:web4:heartbeat"))
	s.node("web5", true, "port", "eighty", "data_center", "dc2")
	s.node("web6", false, "status", "left", "details", "shutdown", "agent", "1.1.0")
	s.do(s.rdb.Del(ctx, "bazbeans:node:web6:heartbeat"),
		s.rdb.SAdd(ctx, "bazbeans:nodes:all", "py1", "bad\x1b[2J\nid\x00"), s.rdb.SAdd(ctx, "bazbeans:nodes:active", "py1"),
		s.rdb.HSet(ctx, "bazbeans:node_ips", "py1", "10.0.9.9"),
		s.rdb.HSet(ctx, "bazbeans:node:py1:status", "status", "active", "data_center", "dc2", "is_frozen", "false", "timestamp", "1772366390.1"),
		s.rdb.Set(ctx, "bazbeans:node:py1:heartbeat", `{"timestamp":1772366390.1,"node_id":"py1","cpu_percent":3,"memory_percent":4,"disk_percent":5}`, 0),
		s.rdb.Set(ctx, "bazbeans:rev", "1772366390000", 0))
	for i, e := range []string{"node_registered", "node_frozen", "node_unfrozen"} {
		s.do(s.rdb.XAdd(ctx, &redis.XAddArgs{Stream: "bazbeans:events", ID: []string{"1772366300000-0", "1772366310500-0", "1772366320999-0"}[i],
			Values: []any{"event", e, "node_id", []string{"web1", "web3", "web3"}[i], "reason", []string{"", "a\x1b[2Jb", ""}[i], "by", []string{"agent", "bob@desk", "bob@desk"}[i], "rev", "177236639000" + []string{"1", "2", "3"}[i]}}))
	}
	s.do(s.rdb.LPush(ctx, "bazbeans:node:web3:recent", "C1", "C2"),
		s.rdb.HSet(ctx, "bazbeans:command:C1", "node", "web3", "type", "exec", "by", "bob@desk", "state", "succeeded", "exit_code", "0", "queued", "2026-03-01T11:50:00.000Z"),
		s.rdb.HSet(ctx, "bazbeans:command:C2", "node", "web3", "type", "restart", "by", "bob@desk", "state", "timed_out", "error", "not \x1b[2Jdone", "queued", "2026-03-01T11:51:00.000Z"),
		s.rdb.HSet(ctx, "bazbeans:node:web3:status", "commands", `["exec","freeze","restart"]`))
	s.do(s.rdb.SAdd(ctx, "bazbeans:lbs", "lb1", "lb2", "lb3"),
		s.rdb.HSet(ctx, "bazbeans:lb:lb1", "rev", "1772366390000", "generation", 12, "held", "[]", "draining", 0, "apply", "reload", "error", "", "host", "edge1", "at", "1772366399"),
		s.rdb.HSet(ctx, "bazbeans:lb:lb2", "rev", "1772366360000", "generation", 9, "held", `["web4"]`, "draining", 2, "apply", "reload",
			"error", "test: nginx: [emerg] unknown directive \"foo\"\x07", "host", "edge2", "at", "1772366340"))
}

// golden compares text with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}
