package lbd

import (
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

// onRedis runs the commands of a fix on Redis's host. A server without a config file can't rewrite it.
func (p *patient) onRedis(f *finding) {
	p.t.Helper()
	u, err := redis.ParseURL(p.cfg.Redis.URL)
	if err != nil {
		p.t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(u.Addr)
	if err != nil {
		p.t.Fatal(err)
	}
	script := strings.ReplaceAll(f.Fix, "redis-cli ", "redis-cli -e -p "+port+" ")
	script = strings.ReplaceAll(script, "CONFIG REWRITE", "PING")
	if out, err := exec.CommandContext(p.t.Context(), "sh", "-ec", script).CombinedOutput(); err != nil {
		p.t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

func TestDoctorOfRedis(t *testing.T) {
	master := serverstest.Redis(t)
	for _, row := range []struct {
		name, code string
		level      level
		args       []string
		heals      bool
	}{
		{"nothing is kept", "redis-persistence", levelWarning, nil, true},
		{"kept now and then", "redis-persistence", levelNote, []string{"--save", "3600 1"}, true},
		{"heartbeats are evicted", "redis-eviction", levelProblem, []string{"--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"}, true},
		{"nodes are evicted", "redis-eviction", levelProblem, []string{"--maxmemory", "100mb", "--maxmemory-policy", "allkeys-random"}, true},
		{"memory is full", "redis-memory", levelProblem, []string{"--maxmemory", "100kb"}, true},
		{"a replica", "redis-role", levelProblem, []string{"--replicaof", strings.ReplaceAll(master.Addr(), ":", " ")}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPatient(t)
			p.cfg.Redis.URL, p.nodes = serverstest.Redis(t, row.args...).URL(), nil
			f := withCode(p.examine(), row.code)
			if f == nil || f.Level != row.level {
				t.Fatalf("got %+v, want %s at level %s", f, row.code, row.level)
			}
			for tries := 0; row.heals && f != nil; f = withCode(p.examine(), row.code) {
				if tries++; tries > 3 {
					t.Fatalf("it does not heal: %+v", f)
				}
				p.onRedis(f)
			}
		})
	}
}

// The ACL line that is printed makes a user with whom lbd works, and about whom the doctor has nothing to say.
func TestDoctorsACL(t *testing.T) {
	p := newPatient(t)
	server := serverstest.Redis(t, "--appendonly", "yes")
	p.cfg.Redis.URL, p.nodes = server.URL(), nil
	p.onRedis(withCode(p.examine(), "redis-rights"))
	p.write("password", "PASSWORD\n")
	p.cfg.Redis.Username, p.cfg.Redis.PasswordFile = "lbd", p.path("password")

	found := p.examine()
	if f := withCode(found, "lbs"); levelOf(f) != levelNote { // that is no business of his
		t.Errorf("%+v", f)
	}
	for _, code := range []string{"redis", "redis-events", "clock"} {
		if f := withCode(found, code); f != nil {
			t.Errorf("%+v", f)
		}
	}
	if f := withCode(found, "redis-unknown"); f == nil || f.Level != levelNote || !strings.Contains(f.What, "role, persistence, memory, rights") {
		t.Errorf("%+v", f)
	}
	registry, err := pool.Open(p.cfg.Redis)
	if err != nil {
		t.Fatal(err)
	}
	defer registry.Close()
	if _, err := registry.WriteAck(t.Context(), pool.Ack{ID: "lb1", Host: "h"}, time.Minute); err != nil {
		t.Error(err)
	}
	if _, err := registry.NodeIPs(t.Context(), []string{"web1"}); err != nil {
		t.Error(err)
	}
	if _, err := registry.Freeze(t.Context(), "web1", "me", ""); err == nil || !strings.Contains(err.Error(), "may not do that") {
		t.Errorf("a freeze by lbd's user: %v", err)
	}

	admin := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer admin.Close()
	grant := func(rules ...any) {
		t.Helper()
		if err := admin.Do(t.Context(), append([]any{"ACL", "SETUSER", "lbd"}, rules...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	// Without the channel nothing is heard; the fix gives it.
	grant("resetchannels")
	if f := withCode(p.examine(), "redis-events"); f == nil || f.Level != levelProblem {
		t.Errorf("%+v", f)
	} else {
		p.onRedis(f)
	}
	if f := withCode(p.examine(), "redis-events"); f != nil {
		t.Errorf("not healed: %+v", f)
	}
	// A user who may ask about himself is told what is missing.
	grant("+acl|dryrun", "-pttl", "+flushall")
	if f := withCode(p.examine(), "redis-rights"); f == nil || f.Level != levelProblem || !strings.Contains(f.What, "PTTL") {
		t.Errorf("%+v", f)
	}
}

// What needs no server to be wrong.
func TestJudgeRedis(t *testing.T) {
	well := pool.Server{Version: "7.0.15", AOF: true, Policy: "noeviction", User: "lbd"}
	for _, row := range []struct {
		code  string
		level level
		make  func(*pool.Server)
	}{
		{"redis-version", levelProblem, func(s *pool.Server) { s.Version = "6.2.14" }},
		{"redis-latency", levelWarning, func(s *pool.Server) { s.Ping = time.Second }},
		{"clock", levelWarning, func(s *pool.Server) { s.Skew = -time.Minute }},
		{"redis-disk", levelProblem, func(s *pool.Server) { s.Failing = "rdb_last_bgsave_status is err" }},
		{"redis-memory", levelWarning, func(s *pool.Server) { s.Used, s.Max = 85<<20, 100<<20 }},
		{"redis-rights", levelWarning, func(s *pool.Server) { s.Excess = []string{"DEL bazbeans:nodes:all"} }},
		{"redis-unknown", levelNote, func(s *pool.Server) { s.Unknown = []string{"role", "persistence", "memory", "rights", "clock"} }},
	} {
		l, err := New(DefaultConfig(), silent)
		if err != nil {
			t.Fatal(err)
		}
		s := well
		row.make(&s)
		d := &doctor{l: l}
		d.judgeRedis(&s)
		var bad []finding
		for _, f := range d.findings {
			if f.Level != levelOK {
				bad = append(bad, f)
			}
		}
		if len(bad) != 1 || bad[0].Code != row.code || bad[0].Level != row.level {
			t.Errorf("want %s at level %s, got %+v", row.code, row.level, bad)
		}
		_ = l.Close()
	}
}

func TestDoctorOfThePool(t *testing.T) {
	p := newPatient(t)
	server := serverstest.Redis(t, "--appendonly", "yes")
	p.cfg.Redis.URL, p.nodes = server.URL(), nil
	if f := withCode(p.examine(), "pool"); f == nil || f.Level != levelNote {
		t.Errorf("an empty pool: %+v", f)
	}
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	registry := pool.New(rdb, "", "")
	for _, lb := range []struct {
		ack pool.Ack
		ttl time.Duration
	}{{pool.Ack{ID: "lb1", Host: "elsewhere"}, time.Minute}, {pool.Ack{ID: "lb2", Host: "h2"}, time.Millisecond}, {pool.Ack{ID: "lb3", Host: "h3"}, time.Minute}} {
		if _, err := registry.WriteAck(t.Context(), lb.ack, lb.ttl); err != nil {
			t.Fatal(err)
		}
	}
	pipe := rdb.Pipeline()
	pipe.SAdd(t.Context(), "bazbeans:nodes:all", "py1", "bad id\x1b[31m")
	pipe.SAdd(t.Context(), "bazbeans:nodes:active", "py1")
	pipe.Set(t.Context(), "bazbeans:node:py1:heartbeat", "{}", time.Hour)
	pipe.HSet(t.Context(), "bazbeans:node_ips", "py1", "127.0.0.1")
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	serverstest.Eventually(t, 10*time.Second, func() error {
		if n, err := rdb.Exists(t.Context(), "bazbeans:lb:lb2").Result(); err != nil || n != 0 {
			return fmt.Errorf("lb2 is not silent yet (%v)", err)
		}
		return nil
	})
	found := p.examine()
	if f := withCode(found, "lb-id"); f == nil || f.Level != levelProblem {
		t.Errorf("%+v", f)
	} else {
		p.heal(f)
	}
	if f := withCode(found, "lb-silent"); f == nil || f.Fix != "bbctl lbs forget lb2" {
		t.Errorf("%+v", f)
	}
	var refused []string
	for _, f := range found {
		if f.Code == "quarantine" {
			refused = append(refused, f.Fix)
		}
	}
	slices.Sort(refused)
	if !slices.Equal(refused, []string{"", "bbctl forget py1"}) { // an id that is none is in no command to paste
		t.Errorf("%q", refused)
	}
	if f := withCode(p.examine(), "lb-id"); f != nil {
		t.Errorf("not healed: %+v", f)
	}
}

func TestPlainRedis(t *testing.T) {
	for url, plain := range map[string]bool{
		"redis://127.0.0.1:6379/0": false, "redis://localhost": false, "redis://[::1]:1/": false, "": false, "unix:///run/redis.sock": false,
		"rediss://10.0.0.5:6379": false, "redis://:secret@10.0.0.5:6379/0": true, "redis://redis.example.com": true,
	} {
		d := &doctor{l: &LB{cfg: Config{Redis: pool.Config{URL: url}}}}
		d.checkPlain()
		f := withCode(d.findings, "redis-plain")
		if (f != nil) != plain {
			t.Errorf("%s: %+v", url, f)
		}
		if f != nil && strings.Contains(f.What+f.Fix, "secret") {
			t.Errorf("%s: the password is shown: %+v", url, f)
		}
	}
}
