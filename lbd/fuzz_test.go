package lbd

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/bazbeans/bazbeans/conf"
	"github.com/bazbeans/bazbeans/ngxconf"
	"github.com/bazbeans/bazbeans/pool"
)

// FuzzAnyNode writes what anybody with write access to Redis could, looks and plans as lbd does, and has Nginx's token
// rules say what came out: our directives, servers at allowed addresses, and nothing else.
func FuzzAnyNode(f *testing.F) {
	f.Add("web2", `{"agent":"1"}`, "10.0.1.2", "8000", "1", `{"rack":"a"}`, "dc1", "10.0.1.2")
	f.Add("web;2", `{}`, "", "", "", "", "x\r\nserver 6.6.6.6;", "10.0.1.3; server 6.6.6.6")
	f.Add("a#b", `{"agent":"}"}`, "::ffff:127.0.0.1", "80 backup", "1 max_fails=0", `{"a":"} server 6.6.6.6:80;"}`, "\u2028", "unix:/run/x.sock")
	f.Add("${x}", `{"agent":"1"}`, "10.0.1.2", "80", "1000", `{"a":"$request_uri"}`, "{{.}}", "fe80::1%eth0")
	f.Add("../../etc/passwd", `{"agent":"1"}`, "169.254.169.254", "80", "1", `{}`, "", "127.0.0.1")

	server := miniredis.RunT(f)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	f.Cleanup(func() { _ = rdb.Close() })
	cfg := DefaultConfig()
	cfg.ID, cfg.StateDir, cfg.Status.Listen, cfg.AllowNetworks = "lb1", f.TempDir(), "", []string{"10.0.0.0/8"}
	cfg.Redis.URL = "redis://" + server.Addr()
	cfg.Upstreams = []UpstreamConfig{defaultUpstream(), defaultUpstream()}
	cfg.Upstreams[0].Output = filepath.Join(cfg.StateDir, "up.conf")
	cfg.Upstreams[1].Name, cfg.Upstreams[1].Output, cfg.Upstreams[1].PortFrom = "hashed", filepath.Join(cfg.StateDir, "hashed.conf"), "label:port"
	cfg.Upstreams[1].Balance = "hash $request_uri consistent"
	l, err := New(cfg, silent)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = l.Close() })
	allowed := netip.MustParsePrefix("10.0.0.0/8")
	down := netip.MustParseAddrPort("127.0.0.1:9")

	f.Fuzz(func(t *testing.T, id, heartbeat, address, port, weight, labels, text, ip string) {
		ctx := t.Context()
		server.FlushAll()
		key := "bazbeans:node:" + id + ":"
		pipe := rdb.Pipeline()
		for _, node := range []string{id, "web1"} {
			pipe.SAdd(ctx, "bazbeans:nodes:all", node)
			pipe.SAdd(ctx, "bazbeans:nodes:active", node)
		}
		pipe.HSet(ctx, "bazbeans:node_ips", "web1", "10.0.0.1", id, ip)
		pipe.Set(ctx, "bazbeans:node:web1:heartbeat", "{}", time.Minute)
		pipe.Set(ctx, key+"heartbeat", heartbeat, time.Minute)
		pipe.HSet(ctx, key+"status", "status", text, "details", text, "data_center", text, "is_frozen", text, "rev", text, "instance", text,
			"address", address, "port", port, "weight", weight, "labels", labels)
		if _, err := pipe.Exec(ctx); err != nil {
			t.Skip(err) // what Redis itself does not take
		}
		found, err := l.look(ctx)
		if err != nil {
			t.Fatal(err)
		}
		p := l.plan(found, l.templates, time.Now())
		if len(p.Errors) > 0 || len(p.Files) != 2 {
			t.Fatalf("%d files, %v", len(p.Files), p.Errors)
		}
		if id != "web1" && !strings.Contains(string(p.Files[0].Data), "10.0.0.1:8000") && !(ip == "10.0.0.1" || address == "10.0.0.1") {
			t.Errorf("web1 is not served:\n%s", p.Files[0].Data)
		}
		for _, file := range p.Files {
			statements, err := ngxconf.Parse(file.Data)
			if err != nil || len(statements) != 1 || statements[0].Name() != "upstream" {
				t.Fatalf("%v:\n%s", err, file.Data)
			}
			for _, s := range statements[0].Block {
				switch s.Name() {
				case "zone", "least_conn", "keepalive", "hash":
					continue
				case "server":
				default:
					t.Fatalf("%s is none of ours:\n%s", s.Name(), file.Data)
				}
				at, err := netip.ParseAddrPort(s.Words[1].Text)
				if err != nil || at != down && !allowed.Contains(at.Addr()) {
					t.Fatalf("a server at %s:\n%s", s.Words[1].Text, file.Data)
				}
			}
		}
		for _, n := range p.Nodes {
			if pool.CheckID(n.ID) != nil {
				t.Errorf("%q is a node", n.ID)
			}
		}
	})
}

// FuzzConfig reads any text as a config file: it is taken or refused with a reason, and never more.
func FuzzConfig(f *testing.F) {
	page, err := os.ReadFile("../docs/lbd.md")
	if err != nil {
		f.Fatal(err)
	}
	_, yaml, _ := strings.Cut(string(page), "```yaml\n")
	yaml, _, _ = strings.Cut(yaml, "```")
	f.Add(yaml)
	f.Add("upstreams: [{name: a, output: /x, balance: \"hash ${HOME}\"}]\nguard: {max_shrink: 101%}")
	f.Add("id: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		cfg := DefaultConfig()
		if err := conf.Decode([]byte(text), &cfg); err != nil {
			return
		}
		if err := cfg.complete(); err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Error("refused without a reason")
			}
			return
		}
		if len(cfg.Upstreams) == 0 || len(cfg.Resolvers) == 0 || cfg.Guard.MinNodes < 1 || !filepath.IsAbs(cfg.StateDir) {
			t.Errorf("taken: %+v", cfg)
		}
	})
}
