package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

// command returns one as it comes out of JSON.
func command(t *testing.T, kind, args string) pool.Command {
	t.Helper()
	c := pool.Command{Type: kind}
	if err := json.Unmarshal([]byte(args), &c.Args); err != nil {
		t.Fatal(err)
	}
	return c
}

// carriedOut is what a command comes to, in one line, on an agent that does not run.
func carriedOut(t *testing.T, s *site, c pool.Command) string {
	t.Helper()
	h, known := s.agent.knows(c.Type)
	if !known {
		t.Fatalf("no command %s", c.Type)
	}
	r := pool.Result{Type: c.Type, Started: time.Now()}
	result, err := h(t.Context(), c)
	outcome(&r, result, err, false)
	s.pool.set(func(f *fakePool) { f.results[c.Type] = r })
	return strings.TrimSpace(s.pool.came(c.Type))
}

// programs is a folder of programs for a site.
func programs(t *testing.T, s *site, scripts map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.agent.path = []string{dir, "/usr/bin", "/bin"}
	return dir
}

func TestExec(t *testing.T) {
	app := t.TempDir()
	s := newSite(t, func(c *Config) {
		c.AppDir = app
		c.Exec.Allow = []string{"say", "out", "ls", "/bin/echo"}
	})
	t.Setenv("SECRET", "of the agent")
	programs(t, s, map[string]string{
		"say": `for w in "$@"; do printf '[%s]' "$w"; done`,
		"out": `pwd; env | sort | cut -d= -f1 | tr '\n' ' '; cat | wc -c; echo oops >&2; exit 3`,
	})
	here, err := filepath.EvalSymlinks(app)
	if err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		`{"command":"say a 'b c' \"d e\" f\\ g"}`:      "succeeded code=0 out=[a][b c][d e][f g]",
		`{"command":"say $HOME * ; rm -rf / | x > y"}`: "succeeded code=0 out=[$HOME][*][;][rm][-rf][/][|][x][>][y]",
		`{"argv":["say","a b","'"]}`:                   "succeeded code=0 out=[a b][']",
		`{"argv":["say","new"],"command":"say old"}`:   "succeeded code=0 out=[new]",
		`{"command":"/bin/echo x"}`:                    "succeeded code=0 out=x\n",
		`{"command":"out"}`:                            "failed: exit code 3 code=3 out=" + here + "\nHOME LANG LOGNAME PATH PWD USER 0\n",
		`{"command":"ls /none"}`:                       "failed: exit code 2 code=2",
		`{"command":"say; reboot"}`:                    `refused: program "say;" is not in this node's exec.allow (say, out, ls, /bin/echo); no shell is used: signs like ; | > $ are plain text`,
		`{"command":"$(reboot)"}`:                      `refused: program "$(reboot)" is not in this node's exec.allow (say, out, ls, /bin/echo); no shell is used: signs like ; | > $ are plain text`,
		`{"command":"X=1 say"}`:                        `refused: program "X=1" is not in this node's exec.allow (say, out, ls, /bin/echo); no shell is used: signs like ; | > $ are plain text`,
		`{"command":"rm -rf /"}`:                       `refused: program "rm" is not in this node's exec.allow (say, out, ls, /bin/echo)`,
		`{"command":"/usr/bin/ls"}`:                    `refused: program "/usr/bin/ls" is not in this node's exec.allow (say, out, ls, /bin/echo)`,
		`{"command":"./say"}`:                          `refused: program "./say" is not in this node's exec.allow (say, out, ls, /bin/echo)`,
		`{"command":"/bin/../bin/echo"}`:               `refused: program "/bin/../bin/echo" is not in this node's exec.allow (say, out, ls, /bin/echo)`,
		`{"command":"say 'a"}`:                         `refused: command "say 'a" can't be split into words: Unterminated single-quoted string`,
		`{"command":""}`:                               "refused: it names no program",
		`{"command":["say"]}`:                          "refused: it has no command: want argv, a list of words, or command, a text",
		`{}`:                                           "refused: it has no command: want argv, a list of words, or command, a text",
		`{"argv":"say"}`:                               `refused: argv is not a list of words like ["docker", "ps"]`,
		`{"argv":["say",1]}`:                           `refused: argv is not a list of words like ["docker", "ps"]`,
		`{"argv":["say","a\u0000b"]}`:                  "refused: a word holds a zero byte",
		`{"command":"say","timeout":{}}`:               `refused: timeout "map[]" is not a time like 10s or 30 (seconds)`,
		`{"command":"say","timeout":-1}`:               `refused: timeout "-1" is not a time like 10s or 30 (seconds)`,
		`{"command":"say","timeout":"1h"}`:             "refused: timeout 1h0m0s is more than this node's exec.timeout_max 10m0s",
		`{"command":"say","timeout":600}`:              "succeeded code=0",
	} {
		if got := carriedOut(t, s, command(t, "exec", args)); got != strings.TrimSpace(want) {
			t.Errorf("%s:\n got %s\nwant %s", args, got, want)
		}
	}
	carriedOut(t, s, command(t, "exec", `{"command":"out"}`))
	if got := s.pool.results["exec"].Stderr; got != "oops\n" {
		t.Errorf("stderr %q", got)
	}
	if err := os.Remove(app); err != nil {
		t.Fatal(err)
	}
	if got := carriedOut(t, s, command(t, "exec", `{"command":"say"}`)); !strings.HasPrefix(got, "refused: app_dir: ") {
		t.Errorf("app_dir is gone: %s", got)
	}
}

// What a program has started ends with it, and a program that does not end is killed with all of it.
func TestExecKillsTheWholeGroup(t *testing.T) {
	app := t.TempDir()
	s := newSite(t, func(c *Config) { c.AppDir, c.Exec.Allow = app, []string{"spawn", "leave"} })
	programs(t, s, map[string]string{
		"spawn": "sleep 1000 & echo $! > child; echo begun; wait",
		"leave": "sleep 1000 & echo $! > child",
	})
	spawn := func() (args, got, want string) { // a machine that is slow to start it has more time
		for _, limit := range []string{"500ms", "5s", "20s"} {
			args = `{"command":"spawn","timeout":"` + limit + `"}`
			got = carriedOut(t, s, command(t, "exec", args))
			want = "timed_out: not at its end after " + limit + ", so it was killed with its process group: context deadline exceeded out=begun"
			if strings.Contains(got, "begun") {
				break
			}
		}
		return args, got, want
	}
	leave := func() (args, got, want string) {
		args = `{"command":"leave"}`
		return args, carriedOut(t, s, command(t, "exec", args)), "succeeded code=0"
	}
	for _, run := range []func() (args, got, want string){spawn, leave} {
		args, got, want := run()
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", args, got, want)
		}
		b, err := os.ReadFile(filepath.Join(app, "child"))
		if err != nil {
			t.Fatal(err)
		}
		var pid int
		if _, err := fmt.Sscan(string(b), &pid); err != nil {
			t.Fatal(err)
		}
		serverstest.Eventually(t, soon, func() error { // init reaps it
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if err == nil && !strings.Contains(string(b), ") Z ") {
				return fmt.Errorf("%s: its child %d lives", args, pid)
			}
			return nil
		})
	}
}

func TestExecOutputIsBounded(t *testing.T) {
	s := newSite(t, func(c *Config) { c.AppDir, c.Exec.Allow = "/", []string{"flood"} })
	programs(t, s, map[string]string{"flood": "echo first; head -c 50000000 /dev/zero; echo last"})
	carriedOut(t, s, command(t, "exec", `{"command":"flood"}`))
	out := s.pool.results["exec"].Stdout
	if len(out) > pool.OutputMost+100 || !strings.HasPrefix(out, "first\n") || !strings.HasSuffix(out, "last\n") || !strings.Contains(out, "bytes left out") {
		t.Errorf("%d bytes: %.20q", len(out), out)
	}
}

func TestExecEndsWithTheAgent(t *testing.T) {
	s := newSite(t, func(c *Config) { c.AppDir, c.Exec.Allow = "/", []string{"sleep"} })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	result, err := s.agent.exec(ctx, command(t, "exec", `{"command":"sleep 1000"}`))
	r := pool.Result{Started: time.Now()}
	outcome(&r, result, err, true)
	if r.State != pool.Interrupted && r.State != pool.Refused { // refused: not even started
		t.Errorf("%+v", r)
	}
}

func TestExecAsAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		as, err := lookupUser("root")
		if err == nil {
			t.Errorf("a user that is not root may run programs as %+v", as)
		}
		t.Skip("only root can run programs as another user")
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, func(c *Config) {
		c.AppDir, c.Exec = "/", Exec{Allow: []string{"id", "env"}, User: "nobody", Timeout: c.Exec.Timeout, TimeoutMost: c.Exec.TimeoutMost}
	})
	if got := carriedOut(t, s, command(t, "exec", `{"command":"id -u"}`)); got != "succeeded code=0 out="+u.Uid {
		t.Errorf("got %s", got)
	}
	groups := carriedOut(t, s, command(t, "exec", `{"command":"id -G"}`))
	if strings.Contains(" "+strings.TrimPrefix(groups, "succeeded code=0 out=")+" ", " 0 ") {
		t.Errorf("it keeps root's group: %s", groups)
	}
	if got := carriedOut(t, s, command(t, "exec", `{"command":"env"}`)); !strings.Contains(got, "USER=nobody\n") || !strings.Contains(got, "HOME="+u.HomeDir+"\n") {
		t.Errorf("got %s", got)
	}
}

func TestPolicySaysAllAtOnce(t *testing.T) {
	c := Defaults()
	c.TrustedKeys, c.RequireSigned, c.AllowUnsigned = []string{"ssh-ed25519 AAAA"}, true, []string{"exec"}
	c.Exec = Exec{Allow: []string{"./x", "/bin/../bin/sh", ""}, User: "no-such-user", Timeout: Duration(time.Hour), TimeoutMost: 1}
	c.Files = Files{Roots: []string{"opt", "/", "/opt/"}, SizeMost: 1 << 40}
	c.Service = Service{Compose: &ComposeService{}, Systemd: &SystemdService{Unit: "-x"}}
	c.CommandsDir = "commands.d"
	_, err := c.check()
	for _, want := range []string{"trusted_keys: public key", "allow_unsigned: require_signed allows none", `exec: allow: "./x"`, `"/bin/../bin/sh"`, `allow: ""`,
		"timeout 1h0m0s", "no-such-user", `files: roots: "opt"`, `roots: "/"`, `roots: "/opt/"`, "max_bytes", "service: compose and systemd", `unit: "-x"`, "timeout 0s", `commands_dir: "commands.d"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in\n%v", want, err)
		}
	}
	c = Defaults()
	c.RequireSigned = true
	if _, err := c.check(); err == nil || !strings.Contains(err.Error(), "trusted_keys is empty") {
		t.Errorf("nobody could send anything: %v", err)
	}
}
