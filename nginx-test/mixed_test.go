package nginxtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// A fleet of both: the original Python agent, CLI and updater work beside ours, unchanged. What differs is told in
// docs/mixed-fleet.md.

// debianPython has Debian's python3-redis and python3-psutil.
const debianPython = "/usr/bin/python3"

// original is the command line of a part of the original system.
func (s *site) original(part string, args ...string) []string {
	s.t.Helper()
	script, err := filepath.Abs("python/original.py")
	if err != nil {
		s.t.Fatal(err)
	}
	return append([]string{script, part, "--redis-url", s.redis.URL()}, args...)
}

// pythonCLI runs the original's control_cli.
func (s *site) pythonCLI(args ...string) string {
	s.t.Helper()
	r := run(s.t, s.dir, debianPython, s.original("cli", args...)...)
	if r.code != 0 {
		s.t.Fatalf("python cli %q: %v", args, r)
	}
	return r.stdout
}

// newMixedSite is a site whose lbd knows the port of Python nodes, which register none.
func newMixedSite(t *testing.T, o options) *mixedSite {
	t.Helper()
	if r := run(t, t.TempDir(), debianPython, "-c", "import redis, psutil"); r.code != 0 {
		t.Fatalf("%s lacks redis or psutil: install python3-redis and python3-psutil, or run `make deps`: %v", debianPython, r)
	}
	port := strconv.Itoa(serverstest.Ports(t, 1)[0])
	o.upstreams = "upstreams: [{name: app_backend, output: CONF.D/upstream.conf, port: " + port + "}]\n"
	return &mixedSite{newSite(t, o), port}
}

type mixedSite struct {
	*site
	port string // of applications beside Python agents
}

// python starts an application and a Python agent beside it.
func (s *mixedSite) python(id, ip string, flags ...string) *node {
	s.t.Helper()
	n := s.application(id, ip+":"+s.port)
	args := s.original("agent", append([]string{"--node-id", id, "--address", ip, "--heartbeat-interval", "0.5",
		"--heartbeat-ttl", "10", "--command-poll-interval", "0.1"}, flags...)...)
	n.restart = func() *daemon {
		n.agent = start(s.t, s.dir, debianPython, args...)
		return n.agent
	}
	n.restart()
	return n
}

// wantStatus waits until the field of the node's hash has the value.
func (n *node) wantStatus(field, value string) {
	n.s.t.Helper()
	serverstest.Eventually(n.s.t, soon, func() error {
		if got := n.s.rdb.HGet(n.s.t.Context(), "bazbeans:node:"+n.id+":status", field).Val(); got != value {
			return fmt.Errorf("%s of %s is %q, want %q", field, n.id, got, value)
		}
		return nil
	})
}

// A Python node joins, serves and dies. It publishes before it has written where it is: here long before, and lbd has
// no other reason to look again than having been told so.
func TestPythonNode(t *testing.T) {
	t.Parallel()
	s := newMixedSite(t, options{config: "timing: {resync: 10m}\n"})
	s.node("web1", "--heartbeat-ttl", "5m")
	s.wantServers("web1")
	traffic := s.traffic()
	py := s.python("py1", "127.0.0.21", "--slow", "1.5", "--heartbeat-ttl", "4", "--data-center", "dc-py")
	s.wantServers("py1", "web1")
	traffic.wantReaches("py1", "web1")
	s.wantPythonEvent("node_registered", "py1")
	if out := s.bbctl("list-nodes"); !containsAll(out, "py1", "dc-py", "web1") {
		t.Errorf("bbctl list-nodes says:\n%s", out)
	}

	s.wantExpiry("py1", 10*time.Minute)
	s.wantServers("web1")
	traffic.wantReaches("web1")
	py.restart()
	s.wantServers("py1", "web1")
	traffic.wantNoHarm()
}

// The Python CLI freezes a node of ours through its agent's queue: that is the operator's freeze, as bbctl's is.
func TestPythonCLI(t *testing.T) {
	t.Parallel()
	s := newMixedSite(t, options{nodes: []string{"web1", "web2"}})
	s.wantServers("web1", "web2")
	traffic := s.traffic()
	s.pythonCLI("freeze", "web1", "--reason", "by the old tool")
	s.wantServers("web2")
	s.wantEvent("node_frozen", "web1")
	s.nodes["web1"].agent.kill()
	s.nodes["web1"].restart().wantLog("frozen by", "by the old tool")
	s.wantServers("web2")
	if out := s.bbctl("status", "web1"); !containsAll(out, "frozen", "by the old tool") {
		t.Errorf("bbctl status web1 says:\n%s", out)
	}
	for _, line := range []string{"web1 FROZEN default ", "web2 ACTIVE default "} {
		if out := s.pythonCLI("list-nodes"); !strings.Contains(out, line) {
			t.Errorf("the Python CLI lists:\n%s\nwant %q", out, line)
		}
	}
	s.pythonCLI("unfreeze", "web1")
	s.wantServers("web1", "web2")
	s.nodes["web1"].wantStatus("status", "executed_unfreeze")
	traffic.wantNoHarm()
}

// bbctl's freeze of a Python node needs nothing of its agent and outlives what the agent does: start anew, register,
// carry out unfreeze commands of the Python CLI.
func TestFreezeOfAPythonNode(t *testing.T) {
	t.Parallel()
	s := newMixedSite(t, options{config: "timing: {resync: 100ms}\n"})
	py1 := s.python("py1", "127.0.0.21")
	s.python("py2", "127.0.0.22")
	s.wantServers("py1", "py2")
	s.wantAck()
	traffic := s.traffic()
	s.bbctl("freeze", "py1", "--wait", "--reason", "new disk")
	frozen := time.Now()
	s.wantServers("py2")

	py1.agent.kill()
	py1.restart()
	py1.wantStatus("is_frozen", "false") // so says Python
	py1.wantBeat()
	s.wantLooks(3)
	s.wantServers("py2")

	s.pythonCLI("unfreeze", "py1")
	py1.wantStatus("status", "executed_unfreeze")
	s.wantLooks(3)
	s.wantServers("py2")
	py1.wantNoMore(frozen)

	s.bbctl("unfreeze", "py1", "--wait")
	py1.agent.wantLog("command", `"unfreeze"`, `"by"`) // and its agent is told
	s.wantServers("py1", "py2")

	// What Python froze, bbctl lifts, and the agent knows it.
	s.pythonCLI("freeze", "py2", "--reason", "old way")
	s.wantPythonEvent("node_frozen", "py2")
	s.wantServers("py1")
	s.bbctl("unfreeze", "py2")
	s.nodes["py2"].wantStatus("status", "executed_unfreeze")
	s.wantServers("py1", "py2")
	traffic.wantNoHarm()
}

// A node moves over to our agent and back. What ours has registered counts while it is ours.
func TestMovingOver(t *testing.T) {
	t.Parallel()
	s := newMixedSite(t, options{config: "timing: {resync: 10m}\n"})
	py := s.python("web1", "127.0.0.21")
	s.python("web2", "127.0.0.22")
	s.wantServers("web1", "web2")
	traffic := s.traffic()

	py.agent.kill()
	ours := s.node("web1", "--weight", "5") // its application, too, is a new one at another port
	s.wantServers("web1", "web2")
	s.wantText("server " + ours.app.Addr() + " weight=5")
	traffic.wantReaches("web1", "web2")

	ours.agent.stop()
	s.wantServers("web2")
	s.nodes["web1"] = py
	py.restart()
	s.wantServers("web1", "web2")
	s.wantText("server " + py.app.Addr() + ";")
	traffic.wantReaches("web1", "web2")
	traffic.wantNoHarm()
}

// The Python updater lives on events alone: ours tell it all that it needs, and node_ips has our nodes.
func TestPythonUpdater(t *testing.T) {
	t.Parallel()
	s := newMixedSite(t, options{})
	file := filepath.Join(s.dir, "python-upstream.conf")
	updater := start(t, s.dir, debianPython, s.original("updater", "--upstream-file", file, "--node-port", "8000")...)
	updater.wantLog("subscribed")
	want := func(ips ...string) {
		t.Helper()
		text := "upstream app_backend {\n"
		for _, ip := range ips {
			text += "    server " + ip + ":8000;\n"
		}
		serverstest.Eventually(t, soon, func() error {
			if got, err := os.ReadFile(file); err != nil || string(got) != text+"}\n" {
				return fmt.Errorf("the Python updater has written (%v)\n%swant\n%s}", err, got, text)
			}
			return nil
		})
	}
	web1 := s.node("web1", "--address", "127.0.0.31")
	want("127.0.0.31")
	s.node("web2", "--address", "127.0.0.32")
	s.node("web3", "--address", "127.0.0.33")
	want("127.0.0.31", "127.0.0.32", "127.0.0.33")
	s.bbctl("freeze", "web2", "--reason", `with "quotes" and größe`)
	updater.wantLog("node_frozen web2", `with "quotes" and größe`)
	want("127.0.0.31", "127.0.0.33")
	s.bbctl("unfreeze", "web2")
	want("127.0.0.31", "127.0.0.32", "127.0.0.33")
	s.nodes["web3"].agent.stop()
	updater.wantLog("node_removed web3")
	want("127.0.0.31", "127.0.0.32")
	s.nodes["web2"].agent.kill()
	s.expire("web2")
	s.bbctl("cleanup")
	want("127.0.0.31")
	web1.agent.stop() // an empty list, not none at all
	want()
}

// bbctl has Python agents run commands. Their results have no id: they are taken where nothing else can be meant.
func TestCommandsOfAPythonNode(t *testing.T) {
	t.Parallel()
	s := newMixedSite(t, options{})
	dir := filepath.Join(s.dir, "a 'b'")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	py1 := s.python("py1", "127.0.0.21", "--app-dir", dir)
	s.python("py2", "127.0.0.22", "--app-dir", dir)
	s.wantServers("py1", "py2")
	file := filepath.Join(dir, "f $HOME")
	write(t, filepath.Join(s.dir, "local"), "größe\n")
	s.bbctl("deploy-file", "py1", filepath.Join(s.dir, "local"), file)
	if got := read(t, file); got != "größe\n" {
		t.Errorf("deployed %q", got)
	}
	if out := s.bbctl("exec", "py1", "--", "cat", file); out != "größe\n" {
		t.Errorf("exec printed %q", out)
	}
	s.bbctlExit(1, "exec", "py1", "--", "cat", file+"2").want(t, 1, "No such file", "exit code 1")
	s.bbctlExit(1, "exec", "py1", "--", "rm", file).want(t, 1, "command not allowed")
	s.bbctlExit(0, "health-check", "py1", "py2").want(t, 0, "py1: healthy", "py2: healthy", "2 succeeded")

	py1.agent.kill()
	s.pythonCLI("exec", "py1", "ls /") // somebody else's waits
	s.bbctlExit(1, "exec", "py1", "--", "ls", "/").want(t, 1, "queued, result not attributable", "1 command waited before it")
	py1.restart()
	py1.wantStatus("status", "executed_exec")
	s.bbctlExit(4, "exec", "py9", "py2", "--yes", "--deadline", "1ms", "--", "ls").want(t, 4, "no such node")
}

// The Python CLI has our agents run commands where their own config lets it: it signs nothing.
func TestPythonCLICommandsOurs(t *testing.T) {
	t.Parallel()
	s := newMixedSite(t, options{})
	file := filepath.Join(s.dir, "agent.yaml")
	write(t, file, fmt.Sprintf("allow_unsigned: [exec, deploy_file]\nfiles: {roots: [%q]}\n", s.dir))
	n := s.node("web1", "--config", file)
	s.wantServers("web1")
	write(t, filepath.Join(s.dir, "local"), "größe\n")
	s.pythonCLI("deploy-file", "web1", filepath.Join(s.dir, "local"), filepath.Join(s.dir, "deployed"))
	n.wantStatus("status", "executed_deploy_file")
	if got := read(t, filepath.Join(s.dir, "deployed")); got != "größe\n" {
		t.Errorf("deployed %q", got)
	}
	s.pythonCLI("exec", "web1", "cat '"+filepath.Join(s.dir, "deployed")+"'")
	n.wantStatus("status", "executed_exec")
	if out := s.pythonCLI("status", "web1"); !strings.Contains(out, "gr") || !strings.Contains(out, "completed") {
		t.Errorf("the Python CLI shows:\n%s", out)
	}
	s.pythonCLI("restart", "web1")
	n.wantStatus("status", "executed_restart")
	s.bbctlExit(0, "status", "web1").want(t, 0, "exec", "succeeded", "restart", "refused", "needs a signature")
}
