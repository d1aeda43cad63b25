package nginxtest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// bad is a command line that cannot work, and what must be said about it.
type bad struct {
	args string   // split at blanks; "␣" is a blank within a word
	code int      // exit code
	says []string // all on one line: what is wrong, and the way out
}

// Config files that the command lines below name.
var badFiles = map[string]string{
	"unknown.yaml": "redis:\n  url: redis://127.0.0.1:1\n  pasword_file: /x\n",
	"lbd.yaml":     "id: lb1\nnginx:\n  binry: nginx\ntiming:\n  resync: soon\nupstreams:\n  - name: a\n    keepalive: many\n",
	"values.yaml":  "id: 'a b'\nupstreams:\n  - {name: a, output: rel.conf, balance: fastest}\nallow_networks: [10/8]\n",
	"agent.yaml":   "node_idd: a\nheartbeat_ttl: later\n",
	"tab.yaml":     "redis:\n\turl: x\n",
	"unset.yaml":   "redis:\n  url: ${BAZBEANS_NOBODY_SETS_THIS}\n",
	"file":         "",
	"nginx.conf":   "events {}\nhttp {}\n", // no mistake: lbd looks there for what Nginx listens on
}

var badInput = map[string][]bad{
	"lbd": {
		{"--upstream-flie x", 2, []string{"--upstream-flie", "lbd --help"}},
		{"--redis-url", 2, []string{"--redis-url", "lbd --help"}},
		{"serve", 2, []string{"serve", "lbd --help"}},
		{"check now", 2, []string{"now", "lbd --help"}},
		{"check --diff", 2, []string{"--diff", "lbd render"}},
		{"--config nofile.yaml", 2, []string{"nofile.yaml", "no such file"}},
		{"--config unknown.yaml", 2, []string{"unknown.yaml:3:", "redis.pasword_file", "password_file"}},
		{"--config lbd.yaml", 2, []string{"lbd.yaml:3:", "nginx.binry", "binary"}}, // and, in the same run …
		{"--config lbd.yaml", 2, []string{"lbd.yaml:5:", "timing.resync", "soon", "10s"}},
		{"--config lbd.yaml", 2, []string{"lbd.yaml:8:", "upstreams[0].keepalive", "many", "number"}},
		{"--config values.yaml", 2, []string{"id", `"a b"`, "A-Z a-z 0-9 . _ -"}},
		{"--config values.yaml", 2, []string{"upstreams[0]", "output", "rel.conf", "absolute"}},
		{"--config values.yaml", 2, []string{"upstreams[0]", "balance", "fastest", "least_conn"}},
		{"--config values.yaml", 2, []string{"allow_networks", "10/8", "10.0.0.0/8"}},
		{"--config tab.yaml", 2, []string{"tab.yaml:2:"}},
		{"--config unset.yaml", 2, []string{"unset.yaml:2:", "redis.url", "BAZBEANS_NOBODY_SETS_THIS"}},
		{"--redis-url http://x", 2, []string{"http://x", "redis://host:6379/0"}},
		{"--id a␣b", 2, []string{`"a b"`, "--id"}},
		{"--id -a", 2, []string{`"-a"`, "--id"}},
		{"--node-port 0", 2, []string{"--node-port", "65535"}},
		{"--node-port 80;", 2, []string{"--node-port", "80;"}},
		{"--upstream-name a{", 2, []string{"a{", "A-Z a-z 0-9"}},
		{"--upstream-file up.conf", 2, []string{"up.conf", "absolute"}},
		{"--state-dir rel", 2, []string{"rel", "absolute"}},
		{"--status-listen 9180", 2, []string{"status.listen", "127.0.0.1:9180"}},
		{"--resolver rdis", 2, []string{"rdis", "redis", "static"}},
		{"--resolver static:/no/nodes.yaml", 2, []string{"static", "/no/nodes.yaml"}},
		{"--allow-network localhost", 2, []string{"localhost", "10.0.0.0/8"}},
		{"--templates /no/folder", 2, []string{"templates", "/no/folder", "built-in"}},
		{"--templates file", 2, []string{"templates", "file", "folder"}},
		{"--log-level loud", 2, []string{"--log-level", "loud", "debug, info, warn, error"}},
		{"--log-format xml", 2, []string{"--log-format", "xml", "text, json"}},
		{"--status-listen BUSY", 1, []string{"BUSY", "in use", "--status-listen"}},
		{"--state-dir /proc/lbd", 1, []string{"/proc/lbd", "state_dir"}},
		{"once", 1, []string{"redis at 127.0.0.1:1", "refused", "--redis-url"}},
		{"render", 1, []string{"redis at 127.0.0.1:1", "refused", "--redis-url"}},
	},
	"bbagent": {
		{"--node-di a", 2, []string{"--node-di", "bbagent --help"}},
		{"leave", 2, []string{"leave", "bbagent --help"}},
		{"--config nofile.yaml", 2, []string{"nofile.yaml", "no such file"}},
		{"--config agent.yaml", 2, []string{"agent.yaml:1:", "node_idd", "node_id"}},
		{"--config agent.yaml", 2, []string{"agent.yaml:2:", "heartbeat_ttl", "10s"}},
		{"--config unset.yaml", 2, []string{"unset.yaml:2:", "BAZBEANS_NOBODY_SETS_THIS"}},
		{"--node-id a␣b", 2, []string{`"a b"`, "--node-id"}},
		{"--node-id ../a", 2, []string{`"../a"`, "--node-id"}},
		{"--address localhost", 2, []string{"localhost", "10.0.1.10"}},
		{"--address 10.0.0.1:80", 2, []string{"10.0.0.1:80", "IP address"}},
		{"--address 010.0.0.1", 2, []string{"010.0.0.1", "IP address"}},
		{"--address fe80::1%eth0", 2, []string{"fe80::1%eth0", "IP address"}},
		{"--address 0.0.0.0", 2, []string{"0.0.0.0"}},
		{"--address 224.0.0.1", 2, []string{"224.0.0.1"}},
		{"--address=", 2, []string{"loopback", "--address"}},
		{"--address= --redis-url unix:///no/socket", 2, []string{"unix socket", "--address"}},
		{"--node-port 65536", 2, []string{"--node-port", "65536"}},
		{"--weight 1001", 2, []string{"weight 1001", "1000"}},
		{"--label zone", 2, []string{"--label", "k=v"}},
		{"--label a␣b=c", 2, []string{`"a b"`, "A-Z a-z 0-9"}},
		{"--cpu-threshold 0", 2, []string{"cpu_threshold 0", "100"}},
		{"--heartbeat-ttl 5s", 2, []string{"heartbeat_ttl 5s", "heartbeat_interval 10s"}},
		{"--heartbeat-interval soon", 2, []string{"--heartbeat-interval", "soon", "10s"}},
	},
	"bbctl": {
		{"frezee web1", 2, []string{"frezee", "freeze"}},
		{"freeze", 2, []string{"NODE", "bbctl freeze --help"}},
		{"freeze --wiat web1", 2, []string{"--wiat", "bbctl freeze --help"}},
		{"freeze web1 --deadline 5s", 2, []string{"--deadline", "--wait"}},
		{"freeze web1 --wait --deadline soon", 2, []string{"--deadline", "soon"}},
		{"freeze web1 x;y", 2, []string{`"x;y"`, "A-Z a-z 0-9"}},
		{"status", 2, []string{"NODE", "bbctl status --help"}},
		{"status a␣b", 2, []string{`"a b"`, "A-Z a-z 0-9"}},
		{"list-nodes all", 2, []string{"all", "bbctl list-nodes --help"}},
		{"list-nodes --state up", 2, []string{"up", "frozen"}},
		{"-o xml list-nodes", 2, []string{"xml", "table, wide, json or yaml"}},
		{"--timeout 0 list-nodes", 2, []string{"--timeout", "10s"}},
		{"--config nofile.yaml list-nodes", 2, []string{"nofile.yaml", "no such file"}},
		{"--config unknown.yaml list-nodes", 2, []string{"unknown.yaml:3:", "redis.pasword_file", "password_file"}},
		{"--redis-url http://x list-nodes", 2, []string{"http://x", "redis://host:6379/0"}},
		{"lbs forget", 2, []string{"ID", "bbctl lbs forget --help"}},
		{"list-nodes", 1, []string{"redis at 127.0.0.1:1", "refused", "--redis-url"}},
		{"freeze web1", 1, []string{"web1", "redis at 127.0.0.1:1", "refused", "--redis-url"}},
		{"--redis-url redis://me:hunter2@127.0.0.1:1 list-nodes", 1, []string{"redis at 127.0.0.1:1", "refused"}},
		{"--redis-url redis://me:hunter2@127.0.0.1:x list-nodes", 2, []string{"127.0.0.1:x", "redis://host:6379/0"}},
		{"--redis-url REDIS freeze web9", 3, []string{"web9", "no such node"}},
		{"--redis-url REDIS unfreeze web9", 3, []string{"web9", "no such node"}},
		{"--redis-url REDIS status web9", 3, []string{"web9", "no such node"}},
	},
}

// Every mistake gets one clear message on stderr, which names the thing and the way out, and the contract's exit code:
// no stack, no help text that buries it, no words of Go.
func TestBadInput(t *testing.T) {
	t.Parallel()
	dir, redis := serverstest.Dir(t), serverstest.Redis(t)
	for name, text := range badFiles {
		write(t, filepath.Join(dir, name), text)
	}
	for _, name := range []string{"templates", "state"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	words := strings.NewReplacer("␣", " ", "REDIS", redis.URL(), "BUSY", redis.Addr())
	// Beside the one mistake all is well, and nothing of this machine's own is touched should a program go on.
	right := map[string][]string{
		"lbd": {"--redis-url", "redis://127.0.0.1:1", "--state-dir", filepath.Join(dir, "state"), "--templates", filepath.Join(dir, "templates"),
			"--nginx-conf", filepath.Join(dir, "nginx.conf"), "--nginx-pid", filepath.Join(dir, "nginx.pid"), "--status-listen", servers.Loopback(serverstest.Ports(t, 1)[0])},
		"bbagent": {"--redis-url", "redis://127.0.0.1:1", "--node-id", "a", "--address", "127.0.0.1", "--state-dir="},
		"bbctl":   {"--redis-url", "redis://127.0.0.1:1"},
	}
	for name, all := range badInput {
		for _, b := range all {
			args := slices.Clone(right[name])
			for _, w := range strings.Fields(b.args) {
				args = append(args, words.Replace(w))
			}
			t.Run(name+" "+b.args, func(t *testing.T) {
				for i := range b.says {
					b.says[i] = words.Replace(b.says[i])
				}
				b.check(t, run(t, dir, name, args...))
			})
		}
	}
}

func (b bad) check(t *testing.T, r result) {
	said := false
	for line := range strings.Lines(r.stderr) {
		said = said || containsAll(line, b.says...)
	}
	if r.code != b.code || !said {
		t.Errorf("want exit code %d and one line with %q, got %v", b.code, b.says, r)
	}
	if lines := strings.Count(strings.TrimSpace(r.stderr), "\n") + 1; lines > 1 && !strings.Contains(b.args, "--config") {
		t.Errorf("%d lines about one mistake: %v", lines, r)
	}
	if r.stdout != "" {
		t.Errorf("something on stdout: %v", r)
	}
	for _, never := range []string{"panic", "goroutine", ".go:", "Usage:", "unmarshal", "struct {", "%!", "hunter2", "error occurred"} {
		if strings.Contains(r.stderr, never) {
			t.Errorf("%q in: %v", never, r)
		}
	}
}

// What asks for nothing wrong is answered on stdout.
func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	dir := serverstest.Dir(t)
	for _, name := range []string{"lbd", "bbagent", "bbctl"} {
		for _, args := range [][]string{{"--help"}, {"version"}, {"--version"}} {
			r := run(t, dir, name, args...)
			if r.code != 0 || r.stderr != "" || !strings.Contains(r.stdout, name) {
				t.Errorf("%s %v: %v", name, args, r)
			}
		}
	}
}
