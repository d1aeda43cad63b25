package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/trust"
)

const queueKey = "bazbeans:node:n1:commands"

// operator sends commands as bbctl does.
type operator struct {
	t    *testing.T
	pool *pool.Pool
	key  trust.PrivateKey
	keys
}

func newOperator(t *testing.T, k keys, url string) *operator {
	t.Helper()
	p, err := pool.Open(pool.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	key, err := trust.NewKey("ann's laptop")
	if err != nil {
		t.Fatal(err)
	}
	return &operator{t, p, key, k}
}

// order is a command of ann's.
func order(kind string, args map[string]any) pool.Command {
	return pool.NewCommand(kind, "ann@desk", 10*time.Minute, args)
}

func (o *operator) sign(c pool.Command, by trust.PrivateKey, to *trust.SealKey) pool.Command {
	o.t.Helper()
	c, err := c.Sign("n1", by, to)
	if err != nil {
		o.t.Fatal(err)
	}
	return c
}

// send queues commands for n1.
func (o *operator) send(commands ...pool.Command) {
	o.t.Helper()
	for _, c := range commands {
		if err := o.pool.Send(o.t.Context(), "n1", c); err != nil {
			o.t.Fatal(err)
		}
	}
}

// came sends a command and returns its result once it has ended.
func (o *operator) came(c pool.Command) pool.Result {
	o.t.Helper()
	o.send(c)
	return o.result(c.ID)
}

func (o *operator) result(id string) pool.Result {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), soon)
	defer cancel()
	r, err := o.pool.WaitResult(ctx, id, nil)
	if err != nil {
		o.t.Fatalf("command %s: %+v, %v", id, r, err)
	}
	return r
}

// refusals are what the stream of events says of commands that were thrown away.
func (o *operator) refusals() []string {
	o.t.Helper()
	var evs []pool.Recorded
	serverstest.Eventually(o.t, soon, func() (err error) { // what is hostile may be large, and keep redis busy for a while
		evs, err = o.pool.Events(o.t.Context(), "", 1000)
		return err
	})
	var whys []string
	for _, e := range evs {
		if e.Kind == pool.CommandRefused {
			whys = append(whys, e.Reason)
		}
	}
	return whys
}

// guardedConfig is an agent that trusts ann, and writes a line to marks for each command "mark" that it runs.
func guardedConfig(t *testing.T, o *operator, url string) (cfg Config, marks func() string) {
	file := filepath.Join(t.TempDir(), "marks")
	cfg = realConfig(url)
	cfg.StateDir, cfg.AppDir = t.TempDir(), t.TempDir()
	cfg.TrustedKeys = []string{o.key.Public().String()}
	script := filepath.Join(cfg.AppDir, "mark")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho \"$*\" >> "+file+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cfg.Exec.Allow = []string{script}
	return cfg, func() string {
		b, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return strings.TrimSpace(strings.ReplaceAll(string(b), "\n", " "))
	}
}

func (o *operator) mark(cfg Config, word string) pool.Command {
	return order("exec", map[string]any{"argv": []any{cfg.Exec.Allow[0], word}})
}

func TestSignedCommands(t *testing.T) {
	t.Parallel()
	srv := serverstest.Redis(t)
	o := newOperator(t, dial(t, srv), srv.URL())
	cfg, marks := guardedConfig(t, o, srv.URL())
	a := startReal(t, cfg)
	o.wait("active", "HGET", "bazbeans:node:n1:status", "status")

	if r := o.came(o.sign(o.mark(cfg, "open"), o.key, nil)); r.State != pool.Succeeded || r.By != "ann@desk" || marks() != "open" {
		t.Errorf("signed: %+v, marks %q", r, marks())
	}
	if a.log.count("ann's laptop") != 1 {
		t.Error("the log does not say whose key signed it")
	}
	caps, err := o.pool.Capabilities(t.Context(), "n1")
	if err != nil {
		t.Fatal(err)
	}
	to, err := trust.ParseSealKey(caps[0].SealKey)
	if err != nil {
		t.Fatalf("the node tells the seal key %q: %v", caps[0].SealKey, err)
	}
	// Sealed, nothing of it can be read in Redis, not even while it waits.
	sealed := o.sign(o.mark(cfg, "s3cret"), o.key, to)
	if b, _ := json.Marshal(sealed); strings.Contains(string(b), "s3cret") {
		t.Errorf("%s", b)
	}
	if r := o.came(sealed); r.State != pool.Succeeded || marks() != "open s3cret" {
		t.Errorf("sealed: %+v, marks %q", r, marks())
	}
	// What stands beside the signed bytes is not looked at.
	beside := o.sign(o.mark(cfg, "signed"), o.key, nil)
	beside.Args, beside.By, beside.Expires = map[string]any{"argv": []any{cfg.Exec.Allow[0], "beside"}, "command": "reboot"}, "mallory", time.Now().Add(time.Hour)
	if r := o.came(beside); r.State != pool.Succeeded || r.By != "ann@desk" || marks() != "open s3cret signed" {
		t.Errorf("with other words beside it: %+v, marks %q", r, marks())
	}
}

// Each of these is what somebody may write who can write to Redis.
func TestHostileCommands(t *testing.T) {
	t.Parallel()
	srv := serverstest.Redis(t)
	o := newOperator(t, dial(t, srv), srv.URL())
	cfg, marks := guardedConfig(t, o, srv.URL())
	cfg.Files.Roots = []string{cfg.AppDir}
	a := startReal(t, cfg)
	o.wait("active", "HGET", "bazbeans:node:n1:status", "status")
	stranger, err := trust.NewKey("mallory")
	if err != nil {
		t.Fatal(err)
	}
	evil := func() pool.Command { return o.mark(cfg, "evil") }
	with := func(c pool.Command, change func(*pool.Command)) pool.Command {
		change(&c)
		return c
	}
	past := with(evil(), func(c *pool.Command) { c.Issued, c.Expires = time.Now().Add(-time.Hour), time.Now().Add(-time.Minute) })
	other, err := evil().Sign("n2", o.key, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		command pool.Command
		state   pool.CommandState
		want    string
	}{
		"no signature":          {evil(), pool.Refused, "exec needs a signature by one of the node's trusted_keys"},
		"a stranger's":          {o.sign(evil(), stranger, nil), pool.Refused, "not in trusted_keys"},
		"an empty one":          {with(evil(), func(c *pool.Command) { c.Signed = json.RawMessage("{}") }), pool.Refused, "not in trusted_keys"},
		"null":                  {with(evil(), func(c *pool.Command) { c.Signed = json.RawMessage("null") }), pool.Refused, "not in trusted_keys"},
		"expired":               {o.sign(past, o.key, nil), pool.Expired, "expired 1m"},
		"fresh again outside":   {with(o.sign(past, o.key, nil), func(c *pool.Command) { c.ID, c.Expires = past.ID+"x", time.Now().Add(time.Hour) }), pool.Expired, "expired"},
		"for another node":      {other, pool.Refused, `signed for node "n2", this is n1`},
		"under another id":      {with(o.sign(evil(), o.key, nil), func(c *pool.Command) { c.ID = "C1" }), pool.Refused, "and beside it stands exec C1"},
		"as another type":       {with(o.sign(evil(), o.key, nil), func(c *pool.Command) { c.Type = "freeze" }), pool.Refused, "and beside it stands freeze"},
		"signed, of no type":    {o.sign(order("rm -rf /", nil), o.key, nil), pool.Refused, "unknown command"},
		"shell signs":           {o.sign(order("exec", map[string]any{"command": cfg.Exec.Allow[0] + "; reboot"}), o.key, nil), pool.Refused, "no shell is used"},
		"outside of the roots":  {o.sign(order("deploy_file", map[string]any{"path": "/etc/passwd", "content": "x"}), o.key, nil), pool.Refused, "not below one of this node's files.roots"},
		"up and out":            {o.sign(order("deploy_file", map[string]any{"path": cfg.AppDir + "/../x", "content": "x"}), o.key, nil), pool.Refused, "not a plain absolute path"},
		"a policy in a command": {o.sign(order("exec", map[string]any{"command": "reboot", "exec": map[string]any{"allow": []any{"reboot"}}, "allow_unsigned": []any{"exec"}}), o.key, nil), pool.Refused, `program "reboot" is not in this node's exec.allow`},
		"deep arguments": {with(evil(), func(c *pool.Command) {
			c.Args = map[string]any{"argv": json.RawMessage(strings.Repeat("[", 9000) + strings.Repeat("]", 9000))}
		}), pool.Refused, "needs a signature"},
		"an escape": {order("\x1b[2J", nil), pool.Refused, "needs a signature"},
	} {
		if r := o.came(c.command); r.State != c.state || !strings.Contains(r.Error, c.want) {
			t.Errorf("%s: %s: %s\nwant %s: %s", name, r.State, r.Error, c.state, c.want)
		}
	}
	// What is no command at all, and commands that come back.
	good := o.sign(o.mark(cfg, "once"), o.key, nil)
	again, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	if r := o.came(good); r.State != pool.Succeeded {
		t.Fatalf("%+v", r)
	}
	hostile := []struct{ raw, want string }{
		{string(again), "exec " + good.ID + " was seen before: it is not run twice"},
		{`{"type":"exec","id":"` + good.ID + `","command":"reboot"}`, "exec " + good.ID + " was seen before"},
		{strings.Repeat("x", 10<<20), "unreadable command: 10485760 bytes are more than 8388608"},
		{strings.Repeat("x", 65<<20), "68157440 bytes"},
		{strings.Repeat("[", 1<<20), "unreadable command"},
		{`{"type":["exec"]}`, "type is no text"},
		{`{"type":"exec","id":"../../etc"}`, "is not allowed"},
		{`{"type":"exec","expires":"never"}`, "expires is no time"},
		{"\x00\xff", "unreadable command"},
		{"", "unreadable command"},
	}
	for _, h := range hostile {
		o.do("RPUSH", queueKey, h.raw)
	}
	serverstest.Eventually(t, soon, func() error {
		if got := o.refusals(); len(got) != len(hostile) {
			return fmt.Errorf("%d refusals are recorded, want %d: %q", len(got), len(hostile), got)
		}
		return nil
	})
	for i, got := range o.refusals() {
		if !strings.Contains(got, hostile[i].want) {
			t.Errorf("recorded %q, want %q", got, hostile[i].want)
		}
	}
	if r := o.result(good.ID); r.State != pool.Succeeded {
		t.Errorf("a replay changed the record: %+v", r)
	}
	// Alive, with nothing in hand, and nothing was done but what was to be.
	if r := o.came(order("health_check", nil)); r.State != pool.Succeeded {
		t.Errorf("%+v", r)
	}
	o.equal("0", "EXISTS", "bazbeans:node:n1:taken")
	if marks() != "once" {
		t.Errorf("marks %q", marks())
	}
	if a.log.count("panic") != 0 {
		t.Error("something panicked")
	}

	// Another run of the agent remembers.
	a.cancel()
	<-a.ended
	o.do("RPUSH", queueKey, string(again))
	b := startReal(t, cfg)
	serverstest.Eventually(t, soon, func() error {
		if got := o.refusals(); len(got) != len(hostile)+1 {
			return fmt.Errorf("the replay after a restart is not recorded: %q", got)
		}
		return nil
	})
	b.cancel()
	<-b.ended
	// One without a memory runs no signed command that it may have run.
	cfg.StateDir = ""
	third := o.sign(o.mark(cfg, "third"), o.key, nil)
	o.send(third)
	startReal(t, cfg)
	if r := o.result(third.ID); r.State != pool.Refused || !strings.Contains(r.Error, "issued before this agent began to remember") {
		t.Errorf("%+v", r)
	}
	if r := o.came(o.sign(o.mark(cfg, "fourth"), o.key, nil)); r.State != pool.Succeeded || marks() != "once fourth" {
		t.Errorf("%+v, marks %q", r, marks())
	}
}

func TestRequireSigned(t *testing.T) {
	t.Parallel()
	srv := serverstest.Redis(t)
	o := newOperator(t, dial(t, srv), srv.URL())
	cfg, _ := guardedConfig(t, o, srv.URL())
	cfg.RequireSigned = true
	startReal(t, cfg)
	o.wait("active", "HGET", "bazbeans:node:n1:status", "status")
	if r := o.came(order("freeze", nil)); r.State != pool.Refused || r.Error != "this node runs signed commands only (require_signed)" {
		t.Errorf("%+v", r)
	}
	if r := o.came(o.sign(order("freeze", nil), o.key, nil)); r.State != pool.Succeeded {
		t.Errorf("%+v", r)
	}
}

// 300 commands to 30 agents, and a Redis that keeps what it was told restarts half-way: none is lost, none runs twice.
func TestRestartOfRedisLosesNoCommand(t *testing.T) {
	t.Parallel()
	const agents, commands = 30, 10
	srv := serverstest.Redis(t, "--appendonly", "yes", "--appendfsync", "always")
	o := newOperator(t, dial(t, srv), srv.URL())
	var mu sync.Mutex
	ran := map[string]int{}
	half := make(chan struct{})
	dir := t.TempDir()
	for i := range agents {
		cfg := realConfig(srv.URL())
		cfg.NodeID, cfg.StateDir, cfg.AllowUnsigned = fmt.Sprintf("n%d", i), dir, []string{"count"}
		r := newReal(t, cfg)
		r.Handle("count", func(_ context.Context, c pool.Command) (any, error) {
			mu.Lock()
			defer mu.Unlock()
			if ran[c.ID]++; len(ran) == agents*commands/2 {
				close(half)
			}
			return ran[c.ID], nil
		})
		r.run(t)
	}
	o.wait(fmt.Sprint(agents), "SCARD", "bazbeans:nodes:active")
	ids := make(chan string, agents*commands)
	var sending sync.WaitGroup
	for i := range agents {
		sending.Go(func() {
			for range commands {
				c := order("count", nil)
				serverstest.Eventually(t, 3*soon, func() error { return o.pool.Send(t.Context(), fmt.Sprintf("n%d", i), c) })
				ids <- c.ID
			}
		})
	}
	<-half
	if err := srv.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	sending.Wait()
	close(ids)
	var all []string
	for id := range ids {
		all = append(all, id)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*soon)
	defer cancel()
	rs, err := o.pool.WaitResults(ctx, all, nil)
	if err != nil {
		t.Error(err)
	}
	for _, r := range rs {
		if r.State != pool.Succeeded {
			t.Errorf("command %s to %s: %s %s", r.ID, r.Node, r.State, r.Error)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for _, id := range all {
		if ran[id] != 1 {
			t.Errorf("command %s ran %d times", id, ran[id])
		}
	}
	if len(all) != agents*commands || len(ran) != len(all) {
		t.Errorf("%d sent, %d ran", len(all), len(ran))
	}
}
