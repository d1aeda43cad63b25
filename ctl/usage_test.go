package ctl

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kballard/go-shellquote"
	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// What is wrong with a command line is said in one line, with exit code 2, before Redis is asked.
func TestWrongUsage(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", "")
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("redis:\n  urll: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const id = `is not allowed: use 1 to 128 of A-Z a-z 0-9 . _ -, beginning with a letter or digit`
	for line, want := range map[string]string{
		"frezee web1":                       `unknown command "frezee": did you mean freeze?`,
		"frz --reason x":                    `unknown command "frz" (see bbctl --help)`,
		"list":                              `unknown command "list": did you mean list-nodes?`,
		"lbs forgt lb1":                     `unknown command "forgt": did you mean forget?`,
		"help nope":                         `unknown command "nope" (see bbctl --help)`,
		"bad\x1b[2J":                        `unknown command "bad\x1b[2J" (see bbctl --help)`,
		"--nope":                            `unknown flag: --nope (see bbctl --help)`,
		"freeze web1 --nope":                `unknown flag: --nope (see bbctl freeze --help)`,
		"freeze":                            `freeze needs at least one NODE, or --dc, --label or --all (see bbctl freeze --help)`,
		"freeze a/b":                        `id "a/b" ` + id + ` (see bbctl freeze --help)`,
		"freeze web1 \x1b[2J":               `id "\x1b[2J" ` + id + ` (see bbctl freeze --help)`,
		"freeze web1 --deadline 3s":         `--deadline says how long to --wait: give both (see bbctl freeze --help)`,
		"freeze web1 --wait --deadline -1s": `--deadline -1s is no time to wait (write 30s or 2m) (see bbctl freeze --help)`,
		"freeze web1 --wait --deadline 30":  `invalid argument "30" for "--deadline" flag: time: missing unit in duration "30" (see bbctl freeze --help)`,
		"unfreeze":                          `unfreeze needs at least one NODE, or --dc, --label or --all (see bbctl unfreeze --help)`,
		"unfreeze .x":                       `id ".x" ` + id + ` (see bbctl unfreeze --help)`,
		"health-check -- -x":                `id "-x" ` + id + ` (see bbctl health-check --help)`,
		"run":                               `run needs a TYPE of command, then the nodes, like: bbctl run logs web1 (see bbctl run --help)`,
		"run logs":                          `run needs at least one NODE, or --dc, --label or --all (see bbctl run --help)`,
		"run \x1b[2J web1":                  `\x1b[2J is no type of command, like logs or clear_cache (see bbctl run --help)`,
		"run health_check web1":             `health_check has a verb of its own: bbctl health-check (see bbctl run --help)`,
		"run x web1 --arg lines":            `--arg "lines" is not name=value (see bbctl run --help)`,
		"run x web1 --arg by=me":            `argument "by" has the name of a field that every command has (see bbctl run --help)`,
		"run x web1 --arg a= --arg a=1":     `argument "a" is given twice (see bbctl run --help)`,
		"run x web1 --arg-json a=b":         `--arg-json "a=b" is no JSON: invalid character 'b' looking for beginning of value (see bbctl run --help)`,
		"status":                            `status takes exactly one NODE, got 0 (see bbctl status --help)`,
		"status web1 web2":                  `status takes exactly one NODE, got 2 (see bbctl status --help)`,
		"status ../x":                       `id "../x" ` + id + ` (see bbctl status --help)`,
		"cleanup web1":                      `cleanup takes no argument, got "web1" (see bbctl cleanup --help)`,
		"forget":                            `forget needs at least one NODE (see bbctl forget --help)`,
		"forget --quoted x":                 `"x" is no quoted id: write it as list-nodes shows it (see bbctl forget --help)`,
		"lbs forget":                        `forget takes exactly one ID, got 0 (see bbctl lbs forget --help)`,
		"lbs forget ??":                     `id "??" ` + id + ` (see bbctl lbs forget --help)`,
		"events -n -1":                      `-n -1 is not a number from 0 to 2000 (see bbctl events --help)`,
		"events --node ??":                  `id "??" ` + id + ` (see bbctl events --help)`,
		"list-nodes -o xml":                 `invalid argument "xml" for "-o, --output" flag: want table, wide, json or yaml (see bbctl list-nodes --help)`,
		"list-nodes --state up":             `--state "up" is not one of active, frozen, unhealthy, dead, faulty, inactive (see bbctl list-nodes --help)`,
		"list-nodes --label x":              `invalid argument "x" for "--label" flag: x must be formatted as key=value (see bbctl list-nodes --help)`,
		"list-nodes --timeout 0s":           `--timeout 0s is no time to do anything in (write 10s or 1m)`,
		"list-nodes --redis-url http://x":   `redis url http://x: redis: invalid URL scheme: http (write redis://host:6379/0, rediss://… or unix:///path)`,
		"list-nodes --redis-url redis://u:hush@[": `redis url …@[: it can't be read: write / # ? % @ in the password as %2F %23 %3F %25 %40, or use password_file (write redis://host:6379/0, rediss://… or unix:///path)`,
		"list-nodes --config /no/such":            `read config: open /no/such: no such file or directory`,
		"list-nodes --config " + bad:              bad + `:2: redis.urll: unknown key (known: channel, cluster, key_prefix, password_file, sentinel, tls, url, username)`,
		"completion":                              `completion takes exactly one shell, got 0 (see bbctl completion --help)`,
		"completion tcsh":                         `"tcsh" is not one of bash, zsh or fish (see bbctl completion --help)`,
		"version 1":                               `version takes no argument, got "1" (see bbctl version --help)`,
	} {
		var stdout, stderr bytes.Buffer
		code := Main(t.Context(), strings.Split(line, " "), nil, &stdout, &stderr)
		if got := stderr.String(); code != 2 || got != "bbctl: "+want+"\n" || stdout.Len() > 0 {
			t.Errorf("%q: exit %d, %q\n%s\nwant\n%s", line, code, stdout.String(), got, want)
		}
	}
}

// Every command has a short help with two examples, every example is a right command line, and no line is wider than a
// usual terminal.
func TestHelp(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		var stdout, stderr bytes.Buffer
		args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
		if code := Main(t.Context(), args, nil, &stdout, &stderr); code != 0 || stderr.Len() > 0 || !strings.HasPrefix(stdout.String(), cmd.Short) {
			t.Errorf("%v: exit %d\n%s%s", args, code, stdout.String(), stderr.String())
		}
		for line := range strings.Lines(stdout.String()) {
			if n := cells(strings.TrimSuffix(line, "\n")); n > helpWide+1 {
				t.Errorf("%v: %d cells: %s", args, n, line)
			}
		}
		if n := strings.Count(cmd.Example, "bbctl "); n < 2 && cmd.Name() != "help" {
			t.Errorf("%s has %d examples", cmd.CommandPath(), n)
		}
		for line := range strings.Lines(cmd.Example) {
			line, isOurs := strings.CutPrefix(strings.TrimSpace(line), "bbctl ")
			if !isOurs || strings.ContainsAny(line, "|&") {
				continue // the shell's part is not ours
			}
			args, err := shellquote.Split(line)
			if err != nil {
				t.Fatal(err)
			}
			c, rest, err := rootCmd(newSession(nil, &stdout, &stderr)).Find(args)
			if err == nil {
				err = c.ParseFlags(rest)
			}
			if err == nil {
				err = c.ValidateArgs(c.Flags().Args())
			}
			if err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
		if !strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: %q is no sentence", cmd.CommandPath(), cmd.Short)
		}
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(rootCmd(newSession(nil, &bytes.Buffer{}, &bytes.Buffer{})))
}

func TestBareAndVersion(t *testing.T) {
	s := newSite(t)
	if r := s.run(); r.code != 0 || !strings.Contains(r.stdout, "Usage: bbctl [flags] COMMAND") || r.stderr != "" {
		t.Errorf("%+v", r)
	}
	if a, b := s.must("version"), s.must("--version"); a != b || !strings.HasPrefix(a, "bbctl ") {
		t.Errorf("%q, %q", a, b)
	}
	if got := s.must("version", "-o", "yaml"); !strings.HasPrefix(got, "version: ") {
		t.Errorf("%q", got)
	}
	if a, b := s.must("help", "freeze"), s.must("freeze", "--help"); a != b {
		t.Errorf("%q, %q", a, b)
	}
}

func TestRedisAway(t *testing.T) {
	s := newSite(t)
	addr := s.srv.Addr()
	s.node("web1", true)
	s.stop()
	says := "redis at " + addr + ": dial tcp " + addr + ": connect: connection refused (is it running? set --redis-url, or redis.url in the config)\n"
	s.want(1, "", "bbctl: "+says, "list-nodes")
	s.want(1, "", "bbctl: web1: "+strings.Replace(says, "dial", "freeze: dial", 1)+"bbctl: not tried: web2 web3\n", "freeze", "web1", "web2", "web3")
	s.want(1, "", "bbctl: "+strings.Replace(says, "dial", "read events: dial", 1), "events", "--follow")
}

func TestRedisStalls(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	r := serverstest.Redis(t)
	if err := r.Pause(); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code := Main(t.Context(), []string{"list-nodes", "--redis-url", r.URL(), "--timeout", "100ms"}, nil, &stdout, &stderr)
	if want := "bbctl: redis at " + r.Addr() + ": "; code != 1 || !strings.HasPrefix(stderr.String(), want) || strings.Count(stderr.String(), "\n") != 1 {
		t.Errorf("exit %d: %s", code, stderr.String())
	}
	if err := r.Resume(); err != nil {
		t.Fatal(err)
	}
}

// The config: the file that is named, else the one in the user's folder; the flag beats both.
func TestConfig(t *testing.T) {
	s := newSite(t)
	s.node("web1", true)
	home := t.TempDir()
	write := func(path, text string) string {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ids := func(code int, args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if got := Main(t.Context(), append([]string{"list-nodes"}, args...), nil, &stdout, &stderr); got != code {
			t.Errorf("%v: exit %d: %s", args, got, stderr.String())
		}
		return stdout.String()
	}
	right, wrong := "redis: {url: '"+s.url+"'}\n", "redis: {url: 'redis://127.0.0.1:1'}\n"
	named := write(filepath.Join(home, "named.yaml"), right)
	t.Setenv("HOME", home)
	write(filepath.Join(home, ".config/bazbeans/config.yaml"), right)
	if !strings.Contains(ids(0), "web1") {
		t.Error("~/.config is not read")
	}
	write(filepath.Join(home, "xdg/bazbeans/config.yaml"), wrong)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "xdg"))
	ids(1)
	if !strings.Contains(ids(0, "--config", named), "web1") {
		t.Error("--config does not beat the user's file")
	}
	sentinel := write(filepath.Join(home, "sentinel.yaml"), "redis: {sentinel: {master: m, addrs: ['127.0.0.1:1']}}\n")
	if !strings.Contains(ids(0, "--config", sentinel, "--redis-url", s.url), "web1") {
		t.Error("--redis-url does not beat the file's Sentinels")
	}
	write(filepath.Join(home, "xdg/bazbeans/config.yaml"), "redis: [\n")
	ids(2)
}

func TestCompletion(t *testing.T) {
	s := newSite(t)
	s.fixed()
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out := s.must("completion", shell); !strings.Contains(out, "bbctl") {
			t.Errorf("%s: %s", shell, out)
		}
	}
	for line, want := range map[string]string{
		"freeze web1 web2 ":   "py1\nweb3\nweb4\nweb5\nweb6\n:4\n",
		"lbs forget ":         "lb1\nlb2\nlb3\n:4\n",
		"list-nodes -o ":      "table\nwide\njson\nyaml\n:4\n",
		"events --node ":      "py1\nweb1\nweb2\nweb3\nweb4\nweb5\nweb6\n:4\n",
		"list-nodes --state ": "active\nfrozen\nunhealthy\ndead\nfaulty\ninactive\n:4\n",
		"completion ":         "bash\nzsh\nfish\n:4\n",
	} {
		if got := s.run(append([]string{"__complete"}, strings.Split(line, " ")...)...).stdout; got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
	s.stop()
	if got := s.run("__complete", "freeze", ""); got.stdout != ":4\n" {
		t.Errorf("without Redis: %+v", got)
	}
}
