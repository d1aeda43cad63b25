package agent

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// asBinary tells this test binary, started by a test, to be bbagent.
const asBinary = "BAZBEANS_TEST_BBAGENT"

func TestMain(m *testing.M) {
	if os.Getenv(asBinary) != "" {
		cli.Main(Main)
	}
	goleak.VerifyTestMain(m)
}

func TestMainAnswers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("node_idd: x\nheartbeat_ttl: soon\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"--help", cli.Done, "--heartbeat-interval"},
		{"version", cli.Done, "bbagent "},
		{"--version", cli.Done, "bbagent "},
		{"leave", cli.Usage, `"leave" is not a command`},
		{"--node-idd x", cli.Usage, "--node-idd"},
		{"--label zone", cli.Usage, "k=v"},
		{"--heartbeat-ttl soon", cli.Usage, "not a time"},
		{"--node-port 70000", cli.Usage, "node-port"},
		{"--heartbeat-ttl 5", cli.Usage, "heartbeat_ttl 5s must be longer than heartbeat_interval 10s"},
		{"--node-id n1", cli.Usage, "set --address"},
		{"--redis-url http://x --address 10.0.0.1", cli.Usage, "redis url"},
		{"--log-level loud", cli.Usage, "--log-level"},
		{"--config " + file, cli.Usage, file + ":2: heartbeat_ttl"},
	} {
		var out bytes.Buffer
		code := Main(t.Context(), strings.Fields(c.args), nil, &out, &out)
		if code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: exit code %d, want %d with %q:\n%s", c.args, code, c.code, c.want, &out)
		}
	}
}

func TestFlagsBeatTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("labels: {zone: a, rack: r1}\nnode_port: 9000\nweight: 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, _, _, err := cli.ParseFlags("bbagent", []string{"--config", file, "--label", "zone=b,c", "--weight", "7"}, Defaults, bind)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Labels["zone"] != "b,c" || cfg.Labels["rack"] != "r1" || cfg.NodePort != 9000 || cfg.Weight != 7 {
		t.Errorf("%+v", cfg)
	}
}

// binary starts bbagent as a process of its own and returns it and what it logs, line by line.
func binary(t *testing.T, args ...string) (*exec.Cmd, func(text string)) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asBinary+"=1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	return cmd, func(text string) {
		t.Helper()
		var seen []string
		for lines.Scan() {
			if seen = append(seen, lines.Text()); strings.Contains(lines.Text(), text) {
				return
			}
		}
		t.Fatalf("bbagent ended and did not say %q:\n%s", text, strings.Join(seen, "\n"))
	}
}

func TestBinary(t *testing.T) {
	t.Parallel()
	srv := serverstest.Redis(t)
	k := dial(t, srv)
	dir := t.TempDir()
	file := filepath.Join(dir, "c.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// How busy this machine is must not decide what it says.
	base := "redis: {url: '" + srv.URL() + "'}\nnode_id: n1\naddress: 127.0.0.9\nheartbeat_interval: 1\nheartbeat_ttl: 30\ncpu_threshold: 100\n"
	write(base + "memory_threshold: 100\n")
	ctx, cancel := context.WithTimeout(t.Context(), 6*soon)
	defer cancel()
	cmd, says := binary(t, "run", "--config", file, "--state-dir", dir)
	context.AfterFunc(ctx, func() { cmd.Process.Kill() }) // a line that never comes must not wait for ever
	says("node is active")
	k.equal("127.0.0.9", "HGET", "bazbeans:node_ips", "n1")

	for _, c := range []struct{ add, says string }{
		{"memory_threshold: 99\n", "config read again"},
		{"memory_threshold: 5000\n", "memory_threshold 5000 is not"},
		{"memory_treshold: 100\n", "unknown key"},
		{"memory_threshold: 100\nweight: 3\n", "registers anew"},
		{"memory_threshold: 100\ncompose_file: c.yml\n", "restart bbagent"},
	} {
		write(base + c.add)
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		says(c.says)
	}

	newer, newerSays := binary(t, "--config", file, "--state-dir", dir)
	context.AfterFunc(ctx, func() { newer.Process.Kill() })
	newerSays("node is active")
	says("a newer agent (instance ")
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != cli.Refused {
		t.Errorf("exit code of the older agent %d, want %d", code, cli.Refused)
	}

	began := time.Now()
	if err := newer.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	newerSays("left the pool")
	if err := newer.Wait(); err != nil {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	k.equal("[]", "SMEMBERS", "bazbeans:nodes:active")
}
