package lbd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/resolvers"
)

// runLBD runs the binary's Main with a state folder of its own.
func runLBD(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(t.Context(), append(args, "--id", "lb1", "--state-dir", t.TempDir()), nil, &out, &errs)
	return code, out.String(), errs.String()
}

func TestResolve(t *testing.T) {
	addr := serverstest.Redis(t).Addr()
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer rdb.Close()
	pipe := rdb.Pipeline()
	pipe.SAdd(t.Context(), "bazbeans:nodes:all", "py1", "py2")
	pipe.HSet(t.Context(), "bazbeans:node_ips", "py1", "10.0.0.1", "py2", "127.0.0.1")
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	const config = `
- redis: {}
- static: {nodes: {py1: 10.0.9.1, py2: 10.0.9.2, ghost: "10.0.9.3:81"}}
`
	file := t.TempDir() + "/lbd.yaml"
	writeTestFile(t, file, "redis: {url: 'redis://"+addr+"'}\nresolvers:"+strings.ReplaceAll(config, "\n", "\n  "))

	code, out, errs := runLBD(t, "resolve", "--config", file, "py1", "ghost")
	if code != cli.Done || errs != "lbd: ghost is not in the pool: it is asked about by its id alone\n" {
		t.Errorf("exit %d, stderr %s", code, errs)
	}
	want := `NODE   RESOLVER  SAYS      ADDRESS      WEIGHT  TIME
py1    redis     found     10.0.0.1     -       X ms  <- wins
py1    static    found     10.0.9.1     -       X ms
ghost  redis     not mine  -            -       X ms
ghost  static    found     10.0.9.3:81  -       X ms  <- wins
`
	if got := plain(out); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}

	code, out, errs = runLBD(t, "resolve", "--config", file, "py2", "none", "-o", "json")
	if code != cli.Failed || !strings.Contains(errs, "py2 has no address: address 127.0.0.1 is loopback") || !strings.Contains(errs, "none has no address: no resolver knows") {
		t.Errorf("exit %d, stderr %s", code, errs)
	}
	var all []explained
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 2 {
		t.Fatalf("%v\n%s", err, out)
	}
	if py2 := all[0]; !py2.InPool || py2.Address != "" || py2.Resolver != "redis" || len(py2.Said) != 2 ||
		py2.Said[0].Outcome != resolvers.Refused || !py2.Said[0].Won || py2.Said[1].Address != "10.0.9.2" || py2.Said[1].Won {
		t.Errorf("%+v", py2)
	}
	if none := all[1]; none.InPool || none.Resolver != "" || none.Said[0].Outcome != resolvers.NotMine || none.Said[1].Outcome != resolvers.NotMine {
		t.Errorf("%+v", none)
	}
}

func TestResolveWithoutRedis(t *testing.T) {
	file := t.TempDir() + "/nodes.yaml"
	writeTestFile(t, file, "a: 10.0.0.1\n")
	code, out, errs := runLBD(t, "resolve", "--redis-url", "redis://127.0.0.1:1", "--resolver", "redis", "--resolver", "static:"+file, "a")
	if code != cli.Done || !strings.Contains(errs, "the pool can't be looked at") || !strings.Contains(out, "cannot know") || !strings.Contains(plain(out), "10.0.0.1  -       X ms  <- wins") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
}

// What a resolver learns between two looks is applied at once.
func TestAChangedListIsApplied(t *testing.T) {
	state := t.TempDir()
	list := state + "/nodes.yaml"
	writeTestFile(t, list, "web1: 10.0.0.1\n")
	cfg := DefaultConfig()
	cfg.ID, cfg.StateDir, cfg.Status.Listen, cfg.Timing.Resync = "lb1", state, "", time.Hour
	cfg.Resolvers = []ResolverConfig{{Kind: "static", Arg: list}}
	l, err := New(cfg, silent)
	if err != nil {
		t.Fatal(err)
	}
	defer l.chain.Close()
	if err := l.pool.Close(); err != nil { // the real one: not used
		t.Fatal(err)
	}
	e := &fakeEngine{start: time.Now(), refuse: func(string) error { return nil }}
	l.pool, l.engine = &fakePool{nodes: map[string]pool.Node{"web1": ours("web1", "")}, wakes: make(chan pool.Wake)}, e
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- l.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	serves := func(address string) {
		t.Helper()
		serverstest.Eventually(t, 30*time.Second, func() error {
			e.mu.Lock()
			defer e.mu.Unlock()
			if !strings.Contains(e.live, "server "+address+":8000") {
				return fmt.Errorf("nginx serves %s", e.live)
			}
			return nil
		})
	}
	serves("10.0.0.1")
	writeTestFile(t, list, "web1: 10.0.0.2\n")
	serves("10.0.0.2")
}

// A resolver that cannot know is a fault that lbd check finds.
func TestCheckTellsOfResolvers(t *testing.T) {
	addr := serverstest.Redis(t).Addr()
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	defer rdb.Close()
	pipe := rdb.Pipeline()
	pipe.SAdd(t.Context(), "bazbeans:nodes:all", "py1")
	pipe.SAdd(t.Context(), "bazbeans:nodes:active", "py1")
	pipe.Set(t.Context(), "bazbeans:node:py1:heartbeat", "{}", time.Minute)
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	fails := t.TempDir() + "/fails"
	if err := os.WriteFile(fails, []byte("#!/bin/sh\necho no inventory >&2\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	code, out, _ := runLBD(t, "check", "--redis-url", "redis://"+addr, "--resolver", "callback:"+fails)
	if code != cli.Failed || !regexp.MustCompile(`(?m)^FAIL  resolvers  callback: py1: .*no inventory`).MatchString(out) {
		t.Errorf("exit %d\n%s", code, out)
	}
}

func TestResolveUsage(t *testing.T) {
	for args, want := range map[string]string{
		"resolve":           "needs at least one node",
		"resolve a/b":       "a/b",
		"resolve a -o yaml": "table or json",
		"check -o json":     "-o is for lbd resolve",
		"check a":           "one word too many",
	} {
		if code, _, errs := runLBD(t, strings.Fields(args)...); code != cli.Usage || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d, %s", args, code, errs)
		}
	}
	// A mistake in the config file is told with file, line and key.
	file := t.TempDir() + "/lbd.yaml"
	writeTestFile(t, file, "resolvers:\n  - redis: {}\n  - dns:\n      sufix: .x\n")
	if code, _, errs := runLBD(t, "check", "--config", file); code != cli.Usage || !strings.Contains(errs, file+":4: resolvers[1].dns.sufix: unknown key") {
		t.Errorf("exit %d, %s", code, errs)
	}
}

func writeTestFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

var (
	milliseconds = regexp.MustCompile(`\d+\.\d ms *`)
	trailing     = regexp.MustCompile(` +\n`)
)

// plain puts X for times, and drops what the table pads.
func plain(s string) string {
	return trailing.ReplaceAllString(milliseconds.ReplaceAllString(s, "X ms  "), "\n")
}
