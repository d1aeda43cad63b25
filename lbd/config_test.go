package lbd

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bazbeans/bazbeans/conf"
	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/resolvers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var silent = slog.New(slog.DiscardHandler)

func parseConfig(t *testing.T, text string) (Config, error) {
	t.Helper()
	c := DefaultConfig()
	c.ID = "lb1"
	if err := conf.Decode([]byte(text), &c); err != nil {
		return c, err
	}
	return c, c.complete()
}

// The contract's own example has all keys.
const example = `
id: lb1
redis: {url: "redis://127.0.0.1:6379/0", key_prefix: bazbeans}
nginx: {binary: nginx, prefix: "", conf: /etc/nginx/nginx.conf, pid: /run/nginx.pid, reload: signal, proof: "", apply: reload, live: auto}
templates: /etc/lbd/templates
upstreams:
  - name: app_backend
    template: upstream.conf.tmpl
    output: /etc/nginx/conf.d/upstream.conf
    port: 8000
    port_from: node
    select: {data_center: [], labels: {}}
    balance: least_conn
    keepalive: 32
    server: {max_fails: 1, fail_timeout: 10s, max_conns: 0}
    fallback: []
  - {name: short, output: /etc/nginx/conf.d/short.conf}
resolvers:
  - redis: {}
  - static: {nodes: {dc1_server01: 10.0.1.10}, on_error: next}
allow_networks: [10.0.0.0/8]
timing: {min_interval: 1s, resync: 10s}
guard: {min_nodes: 1, max_shrink: 50%, window: 60s, hold: 60s}
state_dir: /var/lib/lbd
status: {listen: "127.0.0.1:9180"}
`

func TestExampleConfig(t *testing.T) {
	c, err := parseConfig(t, example)
	if err != nil {
		t.Fatal(err)
	}
	short := c.Upstreams[1]
	if short.Keepalive != 32 || short.Server.MaxFails != 1 || short.Server.FailTimeout != 10*time.Second || short.Balance != "least_conn" || short.Port != 8000 {
		t.Errorf("defaults of an upstream: %+v", short)
	}
	if c.Guard != guardDefaults {
		t.Errorf("guard %+v", c.Guard)
	}
	l, err := New(c, silent)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := l.chain.Names(); strings.Join(got, " ") != "redis static" {
		t.Errorf("chain %v", got)
	}
}

func TestBadConfig(t *testing.T) {
	for text, want := range map[string]string{
		"id: 'a b'":                         `id: id "a b" is not allowed`,
		"upstreams: [{name: a}]":            `upstreams[0] a: output "" is not an absolute path`,
		"upstreams: [{name: a, output: x}]": `output "x" is not an absolute path`,
		"upstreams: [{name: a, output: /x}, {name: a, output: /y}]":                       "name a is taken",
		"upstreams: [{name: a, output: /x}, {name: b, output: /x}]":                       "/x is another upstream's",
		"upstreams: [{name: a, output: /x, port_from: lable}]":                            `port_from "lable" is not one of`,
		"upstreams: [{name: a, output: /x, prot: 1}]":                                     "upstreams[0].prot: unknown key",
		"upstreams: [{name: a, output: /x, balance: best}]":                               "best",
		"upstreams: [{name: a, output: /x, balance: ip_hash, fallback: ['10.0.0.1:80']}]": "ip_hash",
		"upstreams: [{name: a, output: /x, fallback: ['10.0.0.1']}]":                      `fallback "10.0.0.1"`,
		"upstreams: [{name: 'a b', output: /x}]":                                          "a b",
		"allow_networks: [10.0.0.0/99]":                                                   "10.0.0.0/99",
		"timing: {resync: 0s}":                                                            "timing.resync 0s",
		"guard:\n  max_shrink: 0.5":                                                       "guard.max_shrink",
		"guard: {max_shrink: 150%}":                                                       `"150%" is not a share`,
		"status: {listen: '9180'}":                                                        "status.listen",
		"state_dir: here":                                                                 `state_dir "here"`,
		"nginx:\n  reload: systemctl reload nginx":                                        "nginx.reload",
		"resolvers: [redis]":                                                              "want one resolver",
		"nginx: {apply: hot}":                                                             `nginx.apply "hot" is not one of auto, reload, live`,
		"nginx: {live: dns}":                                                              `nginx.live "dns" is not one of auto, lua, resolve`,
		"nginx: {names: '0.0.0.0:53'}":                                                    `nginx.names "0.0.0.0:53" is not a loopback address`,
		"upstreams: [{name: a, output: /a, server: {slow_start: 1500ms}}]":                "slow_start 1.5s is not in whole seconds",
		"nginx: {proof: '9181'}":                                                          `nginx: proof "9181" is neither`,
		"nginx: {binari: x}":                                                              "nginx.binari: unknown key",
	} {
		if _, err := parseConfig(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n got %v\nwant … %s …", text, err, want)
		}
	}
	// All at once.
	_, err := parseConfig(t, "id: 'a b'\nstate_dir: here\ntiming: {resync: 0s}\n")
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("got %v", err)
	}
}

func TestBadResolvers(t *testing.T) {
	for text, want := range map[string]string{
		"- nosuch: {}":                                        `line 2: resolvers[0]: no resolver is called "nosuch" (known: callback, dns, redis, static)`,
		"- static: {}":                                        "line 2: resolvers[0].static: give it either nodes",
		"- static: {nodes: {a: localhost}}":                   `node "a"`,
		"- static: {file: /does/not/exist}":                   "/does/not/exist",
		"- static:\n    fiel: x":                              "line 3: resolvers[0].static.fiel: unknown key (known: file, nodes)",
		"- redis: {}\n- redis: {on_error: sometimes}":         `line 3: resolvers[1].redis: on_error "sometimes"`,
		"- redis: {db: 1}":                                    "line 2: resolvers[0].redis.db: unknown key",
		"- dns: .internal":                                    "line 2: resolvers[0].dns: ",
		"- dns:\n    record: A\n    timeout: 3":               "line 4: resolvers[0].dns.timeout: ",
		"- dns: {record: TXT}":                                `record "TXT" is not one of A, AAAA, SRV`,
		"- dns: {servers: [localhost]}":                       "localhost",
		"- callback: {}":                                      "either exec: [PROGRAM] or url: URL",
		"- callback: {exec: [lookup]}":                        "lookup",
		"- callback: {url: 'ftp://x/{node_id}'}":              "does not begin with http",
		"- callback: {exec: [/bin/true], parallel: many}":     "resolvers[0].callback",
		"- dns: {sufix: x}\n- static: {}\n- nosuch: {a: b}\n": "line 2: resolvers[0].dns.sufix: unknown key (known: parallel, prefix",
	} {
		c, err := parseConfig(t, "resolvers:\n"+text)
		if err != nil {
			t.Fatal(err)
		}
		l, err := New(c, silent)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n got %v\nwant … %s …", text, err, want)
		}
		if err == nil {
			_ = l.Close()
		} else if n := strings.Count(text, "\n- "); strings.HasPrefix(text, "- dns: {sufix") && strings.Count(err.Error(), "\n") != n {
			t.Errorf("not all at once: %v", err)
		}
	}
}

// A kind that has no settings takes none.
func TestAKindWithoutSettings(t *testing.T) {
	plain := Kind{Name: "plain", Make: func(Settings, *pool.Pool) (resolvers.Resolver, error) { return &inventory{}, nil }}
	for text, want := range map[string]string{
		"[{plain: {}}]":               "",
		"[{plain: {on_error: next}}]": "",
		"[{plain: {url: 10.0.0.1}}]":  "line 1: resolvers[0].plain.url: unknown key",
		"[{plain: 10.0.0.1}]":         "line 1: resolvers[0].plain: not allowed",
	} {
		c, err := parseConfig(t, "resolvers: "+text)
		if err != nil {
			t.Fatal(err)
		}
		l, err := New(c, silent, plain)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
		if err == nil {
			_ = l.Close()
		}
	}
}

func TestResolverFlags(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, "nodes.yaml")
	writeTestFile(t, list, "a: 10.0.0.1")
	c := DefaultConfig()
	c.ID, c.StateDir = "lb1", dir
	for flag, want := range map[string]string{
		"redis": "", "dns:.internal": "", "dns": "", "static:" + list: "", "callback:/bin/true": "", "callback:https://inventory/{node_id}": "",
		"redis:x":         "--resolver redis:x: it takes no argument",
		"static":          "--resolver static: give it either",
		"nosuch:x":        "--resolver nosuch:x: no resolver is called",
		"callback:lookup": "--resolver callback:lookup: ",
	} {
		kind, arg, _ := strings.Cut(flag, ":")
		c.Resolvers = []ResolverConfig{{Kind: kind, Arg: arg}, {Kind: "dns", Arg: ".second"}}
		l, err := New(c, silent)
		switch {
		case (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want):
			t.Errorf("%s: %v, want %s", flag, err, want)
		case err == nil && strings.HasPrefix(flag, "dns") && !slices.Equal(l.chain.Names(), []string{"dns", "dns-2"}):
			t.Errorf("%s: chain %v", flag, l.chain.Names())
		}
		if err == nil {
			_ = l.Close()
		}
	}
}

func TestTemplatesFolder(t *testing.T) {
	c, err := parseConfig(t, "")
	if err != nil {
		t.Fatal(err)
	}
	c.Templates = filepath.Join(t.TempDir(), "none")
	if _, err := New(c, silent); err == nil || !strings.Contains(err.Error(), c.Templates) {
		t.Errorf("a named folder that is missing: %v", err)
	}
	c.Templates = t.TempDir()
	c.Upstreams[0].Template = "mine.tmpl"
	if _, err := New(c, silent); err == nil || !strings.Contains(err.Error(), "no template mine.tmpl") {
		t.Errorf("a template that is missing: %v", err)
	}
	if err := os.WriteFile(filepath.Join(c.Templates, "mine.tmpl"), []byte("{{"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := New(c, silent)
	if err != nil {
		t.Fatalf("a broken template is a state, not the end: %v", err)
	}
	defer l.Close()
	if l.TemplateError() == nil {
		t.Error("nobody says that it is broken")
	}
}

// The default folder may be missing. Once templates of it are in use its absence is a fault, with a new one on its way, say:
// to go over to the built-in ones would change what Nginx serves, and nobody asked for that.
func TestTheDefaultTemplatesFolderGoesAway(t *testing.T) {
	dir, absent := t.TempDir(), filepath.Join(t.TempDir(), "none")
	if err := os.WriteFile(filepath.Join(dir, "mine.tmpl"), []byte("# mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for where, fails := range map[string]bool{dir: true, absent: false} {
		c, err := parseConfig(t, "")
		if err != nil {
			t.Fatal(err)
		}
		c.Templates, c.mayLack = where, absent
		l, err := New(c, silent)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		inUse := l.templates
		l.cfg.Templates = absent
		l.refreshTemplates()
		if !l.templates.Equal(inUse) || (l.board.broken != nil) != fails {
			t.Errorf("templates of %s in use: kept %v, fault %v", where, l.templates.Equal(inUse), l.board.broken)
		}
	}
}
