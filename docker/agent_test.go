package docker

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// app is an application that compose runs: healthy while there is a file /tmp/well, which it makes at its start.
const app = `services:
  app:
    image: %s
    command: [sh, -c, "touch /tmp/well; echo the app is up; exec sleep 1000"]
    init: true
    healthcheck: {test: [CMD, test, -e, /tmp/well], interval: 500ms, timeout: 2s, retries: 1}
`

// The agent's docker and compose checks, and its commands for an application of compose, with a real engine; its own
// tests have doubles of both.
func TestAgentOfAComposeApplication(t *testing.T) {
	needEngine(t)
	redis := serverstest.Redis(t)
	dir := serverstest.Dir(t)
	const name = "bazbeans-agent_app_1"
	write(t, dir, "docker-compose.yml", fmt.Sprintf(app, world.base))
	write(t, dir, ".env", "COMPOSE_PROJECT_NAME=bazbeans-agent\n")
	p := &project{t: t, dir: dir, env: env(), argv: []string{"docker-compose"}} // what the agent finds, too
	p.downAtEnd()
	url := redis.URL()
	bbctl := func(args ...string) (string, error) {
		out, err := exec.Command(world.checkout+"/bin/bbctl", append([]string{"--redis-url", url, "--timeout", "60s"}, args...)...).CombinedOutput()
		return string(out), err
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := bbctl(args...)
		if err != nil {
			t.Fatalf("bbctl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return out
	}
	write(t, dir, "agent.yaml", `node_id: web1
address: 127.0.0.2
cpu_threshold: 100
memory_threshold: 100
heartbeat_interval: 1s
drain_timeout: 0s
allow_unsigned: [start, stop, restart, update, pull, status, logs]
checks:
  - name: container
    docker: {container: `+name+`}
    interval: 500ms
    timeout: 30s
    rise: 1
  - name: service
    compose: {service: app}
    interval: 500ms
    timeout: 30s
    rise: 1
`)
	agent, err := servers.StartProgram(dir, world.checkout+"/bin/bbagent", "--config", dir+"/agent.yaml", "--redis-url", url, "--app-dir", dir, "--state-dir", dir+"/state")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(agent.LogTail())
		}
		complain(agent.Stop())
	})
	// shows waits until the pool says that of the node, and its checks say this now.
	shows := func(state string, words ...string) {
		t.Helper()
		eventually(t, func() error {
			out, err := bbctl("list-nodes")
			said, _ := bbctl("health-check", "web1") // it fails when the node is not well
			if err == nil && !strings.Contains(out, "  "+state+" ") {
				err = fmt.Errorf("want the node %s:\n%s%s", state, out, said)
			}
			for _, w := range words {
				if err == nil && !strings.Contains(said, w) {
					err = fmt.Errorf("want %q in\n%s", w, said)
				}
			}
			if err != nil {
				time.Sleep(500 * time.Millisecond) // each look starts processes, here and in the agent
			}
			return err
		})
	}
	shows("unhealthy", "there is no container "+name, "service app has no container")
	must("start", "web1")
	shows("active")
	docker(t, "exec", name, "rm", "/tmp/well")
	shows("unhealthy", "health is unhealthy", "(unhealthy)")
	was := docker(t, "inspect", "--format", "{{.State.StartedAt}}", name)
	must("restart", "web1")
	if now := docker(t, "inspect", "--format", "{{.State.StartedAt}}", name); now == was {
		t.Errorf("the container was not restarted")
	}
	shows("active")
	docker(t, "pause", name)
	shows("unhealthy", "is paused")
	docker(t, "unpause", name)
	shows("active")
	must("stop", "web1")
	shows("unhealthy", "exited with code")
	must("start", "web1")
	shows("active")
}
