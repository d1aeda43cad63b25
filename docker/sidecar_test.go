package docker

import (
	"fmt"
	"strings"
	"testing"
)

// The page's lbd beside an Nginx container, from its text, under traffic.
func TestBesideAnNginxContainer(t *testing.T) {
	needEngine(t)
	images(t)
	network(t, "site")
	node(t, "site", "web1")
	node(t, "site", "web2")
	dir := t.TempDir()
	addr, compose := at(t, strings.ReplaceAll(example(t, "deploy-container", "yaml", "pid: service:nginx"), "nginx:1.28", world.base))
	write(t, dir, "compose.yml", compose)
	write(t, dir, "site.conf", example(t, "deploy-container", "nginx", "listen 8080"))
	write(t, dir, "nginx.conf", example(t, "deploy-container", "nginx", "worker_shutdown_timeout"))
	write(t, dir, "sidecar.yaml", example(t, "deploy-container", "yaml", "id: lb2"))
	p := &project{t: t, dir: dir, env: env("COMPOSE_PROJECT_NAME=bazbeans-beside"), argv: []string{"docker", "compose"}}
	p.downAtEnd()
	start := example(t, "deploy-container", "sh", "mkdir -p upstreams")
	before, check, _ := strings.Cut(start, "docker compose exec")
	p.shell(before)
	healthy(t, "bazbeans-beside-lbd-1", "healthy")
	tr := startTraffic(t, addr)
	eventually(t, func() error {
		c := tr.Counts()
		if c.ByNode["web1"] == 0 || c.ByNode["web2"] == 0 {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	tr.End() // at first there was no node
	p.shell("docker compose exec -T" + check)

	tr = startTraffic(t, addr)
	tr.reaches(2, "web1", "web2")
	bbctl := func(args ...string) string {
		return docker(t, append([]string{"run", "--rm", "--network", "site", world.prefix + "bbctl", "--redis-url", "redis://redis:6379/0"}, args...)...)
	}
	// A drain is proven: lbd sees the workers of the other container.
	if out := bbctl("freeze", "web1", "--wait", "--reason", "test"); !strings.Contains(out, "drained") {
		t.Errorf("bbctl freeze --wait: %s", out)
	}
	tr.reaches(1, "web2")
	bbctl("unfreeze", "web1")
	tr.reaches(2)
	p.run("kill", "lbd") // SIGKILL
	tr.goOn(100)
	p.run("up", "--detach")
	healthy(t, "bazbeans-beside-lbd-1", "healthy")
	tr.reaches(2)
	tr.unharmed()

	// With its namespaces lbd's container ends, and starts anew with them.
	p.run("restart", "nginx")
	tr = startTraffic(t, addr)
	bbctl("freeze", "web2", "--wait", "--reason", "test", "--deadline", "60s")
	tr.reaches(1, "web1")
}
