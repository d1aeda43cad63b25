package ctl

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/trust"
)

func figure(s string) string { return tenths.ReplaceAllString(s, "T") }

func TestCommandIsWaitedFor(t *testing.T) {
	s := newSite(t)
	for _, id := range []string{"web1", "web2", "web3"} {
		s.node(id, true)
	}
	s.agent("web1", succeed)
	s.agent("web2", fail("restart", "compose \x1b[2Jfailed"))
	s.agent("web3", func(c pool.Command) *pool.Result {
		return &pool.Result{State: pool.Succeeded, Output: json.RawMessage(`{"healthy":false,"reason":"disk full","checks":{"disk":"99 %","app":"ok"}}`)}
	})
	r := s.run("restart", "web1")
	if r.code != 0 || figure(r.stdout) != "web1: restart succeeded (T)\n" || r.stderr != "" {
		t.Errorf("%+v", r)
	}
	r = s.run("restart", "web1", "web2", "web9", "--yes")
	for _, says := range []string{"bbctl: web2: restart failed: compose \\x1b[2Jfailed\n", "bbctl: web2: | line \\x1b[31m2\n",
		"bbctl: node \"web9\": no such node: did you mean web1, web2 or web3?\n", "bbctl: restart: 1 succeeded, 1 failed (web2), 1 no such node (web9) in "} {
		if !strings.Contains(r.stderr, says) {
			t.Errorf("%q is not in\n%s", says, r.stderr)
		}
	}
	if r.code != 3 || figure(r.stdout) != "web1: restart succeeded (T)\n" {
		t.Errorf("%+v", r)
	}
	s.want(0, "web1: healthy\n", "", "health-check", "web1")
	s.want(1, "", "bbctl: web3: unhealthy: disk full\nweb3:   app: ok\nweb3:   disk: 99 %\n", "health-check", "web3")

	r = s.run("restart", "web1", "web2", "--yes", "-o", "json")
	var got []struct {
		ID, Command, Type, Result, Detail string
		ExitCode                          *int `json:"exit_code"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || r.code != 1 || len(got) != 2 {
		t.Fatalf("%v: %+v", err, r)
	}
	if got[0].Result != "succeeded" || got[1].Result != "failed" || got[1].ExitCode == nil || *got[1].ExitCode != 3 || got[0].Type != "restart" {
		t.Errorf("%+v", got)
	}
	rec := s.must("result", got[0].Command)
	if !strings.Contains(rec, "result       succeeded\n") || !strings.Contains(rec, "by           alice@desk\n") {
		t.Error(rec)
	}
	if r := s.run("result", got[1].Command); r.code != 1 || !strings.Contains(r.stdout, "line \\x1b[31m2\n") {
		t.Errorf("%+v", r)
	}
	if r := s.run("result", "NOSUCH"); r.code != 1 || !strings.Contains(r.stdout, "result       unknown\n") || !strings.Contains(r.stderr, "redis has no record") {
		t.Errorf("%+v", r)
	}
}

func TestExec(t *testing.T) {
	s := newSite(t)
	s.node("web1", true)
	s.node("web2", true, "data_center", "dc2")
	s.agent("web1", echo)
	s.agent("web2", echo)
	// One node's output is the program's, byte for byte where it is no terminal.
	s.want(0, "ran ls '/a b'\n\x1b[2Jx\n", "warned\n", "exec", "web1", "--", "ls", "/a b")
	s.want(0, "ran docker ps | x\n\x1b[2Jx\n", "warned\n", "exec", "web1", "docker ps | x") // as the original CLI's
	s.want(0, "ran uptime\n\x1b[2Jx\n", "warned\n", "exec", "--dc", "dc2", "--", "uptime")
	r := s.run("exec", "web*", "--yes", "--parallel", "1", "--", "uptime")
	if r.code != 0 || r.stdout != "web1: ran uptime\nweb1: \x1b[2Jx\nweb2: ran uptime\nweb2: \x1b[2Jx\n" || !strings.HasPrefix(r.stderr, "web1: warned\nweb2: warned\nbbctl: exec: 2 succeeded in ") {
		t.Errorf("%+v", r)
	}
	if r := s.run("exec", "web1"); r.code != 2 || !strings.Contains(r.stderr, "exec needs a command after --") {
		t.Errorf("%+v", r)
	}
}

// Nobody is there to be asked: more than one node needs --yes, and a freeze only where not each is named.
func TestAsking(t *testing.T) {
	s := newSite(t)
	for _, id := range []string{"web1", "web2", "db1"} {
		s.node(id, true)
	}
	s.want(2, "", "bbctl: stop 2 nodes: nobody is here to be asked: say --yes (--dry-run shows which) (see bbctl stop --help)\n", "stop", "web*")
	s.want(2, "", "bbctl: freeze 3 nodes: nobody is here to be asked: say --yes (--dry-run shows which) (see bbctl freeze --help)\n", "freeze", "--all")
	s.want(0, "web1: frozen\nweb2: frozen\n", "", "freeze", "web1", "web2")
	s.want(0, "web1: unfrozen\nweb2: unfrozen\n", "", "unfreeze", "web[12]")
	s.want(0, "db1: frozen\nweb1: frozen\nweb2: frozen\n", "", "freeze", "--dc", "dc1", "--yes")
	s.want(0, "db1: unfreeze would be done (frozen, dc1)\n", "", "unfreeze", "d*", "--dry-run")
	s.want(0, "[\n  {\n    \"id\": \"db1\",\n    \"result\": \"dry_run\"\n  }\n]\n", "", "unfreeze", "db1", "--dry-run", "-o", "json")
	s.want(3, "", "bbctl: no node matches wbe* (see bbctl list-nodes); nothing was done\n", "stop", "wbe*", "web1")
	s.want(3, "", "bbctl: none of the 3 nodes is chosen by that (see bbctl list-nodes); nothing was done\n", "stop", "--dc", "dc9")
	s.want(3, "", "bbctl: node \"wbe1\": no such node: did you mean db1 or web1?\n", "restart", "wbe1")
	s.want(2, "", "bbctl: --all is every node: leave out NODE, --dc and --label (see bbctl stop --help)\n", "stop", "--all", "web1")
}

// What is not done in time is not taken for done, nor is what Redis has lost.
func TestDeadlineAndLoss(t *testing.T) {
	s := newSite(t)
	s.node("web1", true)
	r := s.run("restart", "web1", "--deadline", "2s")
	if r.code != 4 || !strings.Contains(r.stderr, "web1: restart was not begun within the deadline") || r.stdout != "" {
		t.Errorf("%+v", r)
	}
	s.do(s.rdb.FlushDB(t.Context()))
	s.node("web1", true)
	lost := s.start("restart", "web1")
	var id string
	serverstest.Eventually(t, soon, func() error {
		if keys := s.rdb.Keys(t.Context(), "bazbeans:command:*").Val(); len(keys) == 1 {
			id = keys[0]
			return nil
		}
		return fmt.Errorf("no command yet")
	})
	s.do(s.rdb.Del(t.Context(), id))
	lost.wantEnd(t, 1)
	if got := lost.stderr.String(); !strings.Contains(got, "web1: restart has an unknown end: redis has lost its record") {
		t.Error(got)
	}
	out := s.must("restart", "web1", "--no-wait")
	if !strings.HasPrefix(out, "web1: restart queued (command ") {
		t.Error(out)
	}
}

// With a key, what is sent is signed for that node alone; sealed, only the node can read it, and a key that changed is
// refused.
func TestSigned(t *testing.T) {
	s := newSite(t)
	s.node("web1", true)
	key := t.TempDir() + "/ops.key"
	pub := strings.TrimSpace(s.run("keygen", "--out", key).stdout)
	ring, err := trust.NewRing([]string{pub})
	if err != nil {
		t.Fatal(err)
	}
	own, err := trust.OwnKey(t.TempDir() + "/own.key")
	if err != nil {
		t.Fatal(err)
	}
	s.do(s.rdb.HSet(t.Context(), "bazbeans:node:web1:status", "seal_key", own.Public().String()))
	var ran []string
	s.agent("web1", func(c pool.Command) *pool.Result {
		o, err := ring.Verify(c.Signed, "web1", time.Now(), own)
		if err != nil {
			return &pool.Result{State: pool.Refused, Error: err.Error()}
		}
		ran = append(ran, fmt.Sprint(o.Args["command"]))
		return &pool.Result{State: pool.Succeeded}
	})
	s.want(0, "", "", "exec", "web1", "--key", key, "--", "ls", "-l")
	fp := own.Public().Fingerprint()
	r := s.run("exec", "web1", "--key", key, "--seal", "--", "secret")
	if known := os.Getenv("HOME") + "/.config/bazbeans/known_nodes"; r.code != 0 || r.stderr != "bbctl: web1: seen for the first time, its key "+fp+" is pinned in "+known+"\n" {
		t.Errorf("%+v", r)
	}
	s.want(0, "", "", "exec", "web1", "--key", key, "--seal", "--", "again")
	if got := strings.Join(ran, ","); got != "ls -l,secret,again" {
		t.Errorf("ran %s", got)
	}
	other, err := trust.OwnKey(t.TempDir() + "/other.key")
	if err != nil {
		t.Fatal(err)
	}
	s.do(s.rdb.HSet(t.Context(), "bazbeans:node:web1:status", "seal_key", other.Public().String()))
	if r := s.run("exec", "web1", "--key", key, "--seal", "--", "no"); r.code != 1 || !strings.Contains(r.stderr, "its key has changed: "+fp+" is pinned") || len(ran) != 3 {
		t.Errorf("%+v", r)
	}
	if r := s.run("exec", "web1", "--", "ls"); r.code != 1 || !strings.Contains(r.stderr, "sign it with --key FILE") {
		t.Errorf("%+v", r)
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := s.run("exec", "web1", "--key", key, "--", "ls"); r.code != 2 || !strings.Contains(r.stderr, "chmod 600") {
		t.Errorf("%+v", r)
	}
	if r := s.run("exec", "web1", "--seal", "--", "ls"); r.code != 2 {
		t.Errorf("%+v", r)
	}
	if r := s.run("keygen", "--out", key); r.code != 1 || !strings.Contains(r.stderr, "exists") {
		t.Errorf("%+v", r)
	}
}

func TestDeployFile(t *testing.T) {
	s := newSite(t)
	s.node("web1", true)
	var args map[string]any
	s.agent("web1", func(c pool.Command) *pool.Result { args = c.Args; return &pool.Result{State: pool.Succeeded} })
	file := t.TempDir() + "/f"
	for _, c := range []struct{ content, encoding, want string }{{"größe\n", "<nil>", "größe\n"}, {"\xff\x00", "base64", "/wA="}} {
		if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		s.must("deploy-file", "web1", file, "/opt/app/x", "--mode", "0640")
		if args["content"] != c.want || fmt.Sprint(args["encoding"]) != c.encoding || args["path"] != "/opt/app/x" || args["mode"] != "0640" || len(args["sha256"].(string)) != 64 {
			t.Errorf("%v", args)
		}
	}
	if err := os.WriteFile(file, make([]byte, fileMost+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := s.run("deploy-file", "web1", file, "/x"); r.code != 1 || !strings.Contains(r.stderr, "larger than the 2 MiB") {
		t.Errorf("%+v", r)
	}
	for _, remote := range []string{"x", "/a/../b", "/a/"} {
		if r := s.run("deploy-file", "web1", file, remote); r.code != 2 {
			t.Errorf("%s: %+v", remote, r)
		}
	}
}
