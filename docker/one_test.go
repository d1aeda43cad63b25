package docker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// at is an address of this host that is free, in place of the pages' 127.0.0.1:8080.
func at(t *testing.T, text string) (addr, changed string) {
	t.Helper()
	const said = "127.0.0.1:8080:8080"
	if !strings.Contains(text, said) {
		t.Fatalf("the example does not publish %s:\n%s", said, text)
	}
	addr = fmt.Sprint("127.0.0.1:", serverstest.Ports(t, 1)[0])
	return addr, strings.ReplaceAll(text, said, addr+":8080")
}

// node starts a sample node in a network with a Redis.
func node(t *testing.T, network, name string) {
	t.Helper()
	container(t, "--network", network, "--name", name, "--hostname", name, "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL",
		world.prefix+"web", "--redis-url", "redis://redis:6379/0", "--cpu-threshold", "100", "--memory-threshold", "100")
}

// The page's one container, from its text, under traffic.
func TestOneContainer(t *testing.T) {
	needEngine(t)
	images(t)
	network(t, "site")
	node(t, "site", "web1")
	node(t, "site", "web2")
	dir := t.TempDir()
	write(t, dir, "site.conf", example(t, "deploy-container", "nginx", "listen 8080"))
	write(t, dir, "lbd.yaml", example(t, "deploy-container", "yaml", "id: lb1"))
	addr, text := at(t, example(t, "deploy-container", "sh", "docker run --detach --name lb1"))
	t.Cleanup(func() {
		_, err := command("/", "", "docker", "volume", "rm", "--force", "lb1-upstreams", "lb1-state")
		complain(err)
	})
	removed(t, "lb1")
	shell(t, dir, text)
	healthy(t, "lb1", "healthy")
	tr := startTraffic(t, addr)
	tr.reaches(2, "web1", "web2")
	eventually(t, func() error { // its first answer comes when a look has been acked
		_, err := command(dir, "", "sh", "-ec", example(t, "deploy-container", "sh", "docker exec lb1 lbd check"))
		return err
	})
	if got := shell(t, dir, example(t, "deploy-container", "sh", "list-nodes")); strings.Count(got, " active ") != 2 {
		t.Errorf("bbctl list-nodes: %s", got)
	}

	t.Run("it has no rights", func(t *testing.T) {
		for _, path := range []string{"/x", "/etc/nginx/nginx.conf", "/etc/nginx/conf.d/x", "/usr/local/bin/x", "/var/lib/x"} {
			out, err := command("/", "", "docker", "exec", "--user", "0", "lb1", "sh", "-c", ": >>"+path)
			if err == nil || !strings.Contains(err.Error(), "Read-only file system") {
				t.Errorf("%s can be written: %s %v", path, out, err)
			}
		}
		for pid, name := range processes(t, "lb1") {
			status := docker(t, "exec", "lb1", "cat", "/proc/"+pid+"/status")
			for _, want := range []string{"Uid:\t101\t101\t101\t101", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"} {
				if !strings.Contains(status, want) {
					t.Errorf("process %s (%s) has not %q:\n%s", pid, name, want, status)
				}
			}
		}
	})
	t.Run("lbd is killed", func(t *testing.T) {
		killed := pids(t, "lb1", "lbd")[0]
		master := pids(t, "lb1", "nginx")[0]
		docker(t, "exec", "lb1", "sh", "-c", "kill -9 "+killed)
		eventually(t, func() error {
			if now := pids(t, "lb1", "lbd"); len(now) != 1 || now[0] == killed {
				return fmt.Errorf("lbd is process %v, and was %s", now, killed)
			}
			_, err := command("/", "", "docker", "exec", "lb1", "bbinit", "health", "http://127.0.0.1:9180/readyz")
			return err
		})
		if now := pids(t, "lb1", "nginx"); now[0] != master {
			t.Errorf("nginx is process %s, and was %s", now[0], master)
		}
	})
	t.Run("SIGHUP and SIGUSR1", func(t *testing.T) {
		workers := pids(t, "lb1", "nginx")
		shell(t, dir, "docker exec lb1 sh -c 'kill -HUP 1'")
		eventually(t, func() error {
			if !strings.Contains(logs(t, "lb1"), "config and templates were read again") {
				return errors.New("lbd has not said that it read its config again")
			}
			for _, pid := range pids(t, "lb1", "nginx")[1:] {
				if slices.Contains(workers, pid) {
					return errors.New("nginx has workers from before the signal")
				}
			}
			return nil
		})
		shell(t, dir, "docker exec lb1 sh -c 'kill -USR1 1'")
		eventually(t, func() error {
			if !strings.Contains(logs(t, "lb1"), "reopening logs") {
				return errors.New("nginx has not opened its logs anew")
			}
			return nil
		})
	})
	tr.unharmed()

	t.Run("nginx dies, and comes back while redis is away", func(t *testing.T) {
		docker(t, "stop", "--time", "1", "site-redis")
		docker(t, "exec", "lb1", "sh", "-c", "kill -9 "+pids(t, "lb1", "nginx")[0])
		eventually(t, func() error {
			if n := docker(t, "inspect", "--format", "{{.RestartCount}}", "lb1"); n != "1" {
				return fmt.Errorf("the container was started %s times more", n)
			}
			return nil
		})
		tr := startTraffic(t, addr)
		eventually(t, func() error {
			if c := tr.Counts(); c.ByNode["web1"] == 0 || c.ByNode["web2"] == 0 {
				return fmt.Errorf("%+v", c)
			}
			return nil
		})
		if !strings.Contains(logs(t, "lb1"), `"main has ended","program":"nginx","code":137`) {
			t.Errorf("the log does not say how nginx ended")
		}
		docker(t, "start", "site-redis")
	})
	t.Run("SIGTERM while a request is under way", func(t *testing.T) {
		slowEndsWell(t, "http://"+addr+"/slow", func() { docker(t, "stop", "lb1") }) // --stop-timeout of the page
		if code := docker(t, "inspect", "--format", "{{.State.ExitCode}}", "lb1"); code != "0" {
			t.Errorf("the container ended with %s", code)
		}
		if _, err := http.Get("http://" + addr); !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("who answers? %v", err)
		}
	})
}

// The page's image of an application with its agent: the node joins the pool, and has left it when the container is stopped.
func TestApplicationWithAgent(t *testing.T) {
	needEngine(t)
	images(t)
	const name = "bazbeans-app"
	network(t, name)
	dir := t.TempDir()
	write(t, dir, "your-application", "#!/bin/sh\n[ \"$*\" = --its-flag ] && exec sleep 1000\n")
	write(t, dir, "bbagent.yaml", "redis: {url: 'redis://redis:6379/0'}\nnode_port: 8000\ncpu_threshold: 100\nmemory_threshold: 100\n")
	write(t, dir, "base", "FROM "+world.base+"\nCOPY your-application bbagent.yaml /\n"+
		"RUN install /your-application /usr/local/bin && install -D /bbagent.yaml /etc/bbagent/bbagent.yaml\n")
	docker(t, "build", "--tag", world.prefix+"your-application", "--file", dir+"/base", dir)
	write(t, dir, "page", strings.Replace(example(t, "deploy-container", "dockerfile", "bbinit"), "FROM your-", "FROM "+world.prefix+"your-", 1))
	docker(t, "build", "--tag", world.prefix+"app", "--file", dir+"/page", dir)
	container(t, "--network", name, "--name", name, "--hostname", "web1", world.prefix+"app")
	pool := func(state string) {
		t.Helper()
		eventually(t, func() error {
			out := docker(t, "run", "--rm", "--network", name, world.prefix+"bbctl", "--redis-url", "redis://redis:6379/0", "list-nodes", "-o", "json")
			if !strings.Contains(out, state) {
				return fmt.Errorf("want %s: %s", state, out)
			}
			return nil
		})
	}
	pool(`"state": "active"`)
	docker(t, "stop", "--time", "60", name)
	pool("[]")
}

// slowEndsWell begins a request that takes some seconds, does something, and wants the whole answer.
func slowEndsWell(t *testing.T, url string, do func()) {
	t.Helper()
	began := make(chan struct{})
	done := make(chan error)
	go func() {
		underWay := sync.OnceFunc(func() { time.AfterFunc(time.Second, func() { close(began) }) }) // the site answers after more than five
		sent := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { underWay() }}
		var resp *http.Response
		req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), sent), http.MethodGet, url, nil)
		if err == nil {
			resp, err = http.DefaultClient.Do(req)
		}
		if err == nil {
			var body []byte
			body, err = io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK || !strings.HasSuffix(string(body), "\n") {
				err = errors.Join(err, fmt.Errorf("%s: %q", resp.Status, body))
			}
		}
		done <- err
	}()
	select {
	case <-began:
	case err := <-done:
		t.Fatalf("the slow request has ended already: %v", err)
	}
	do()
	if err := <-done; err != nil {
		t.Errorf("a request that was under way: %v", err)
	}
}

// Health checks turn unhealthy when they should, and never because Redis is away.
func TestHealth(t *testing.T) {
	needEngine(t)
	images(t)
	network(t, "bazbeans-health")
	dir := t.TempDir()
	write(t, dir, "site.conf", example(t, "deploy-container", "nginx", "listen 8080"))
	container(t, "--network", "bazbeans-health", "--name", "bazbeans-health-lb", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL",
		"--volume", dir+"/site.conf:/etc/nginx/conf.d/site.conf:ro", "--volume", "/etc/nginx/upstreams", "--volume", "/var/lib/lbd",
		"--health-interval", "500ms", "--health-retries", "2", "--health-start-period", "0s",
		world.prefix+"lbd", "--redis-url", "redis://redis:6379/0", "--upstream-file", "/etc/nginx/upstreams/app.conf")
	const lb = "bazbeans-health-lb"
	healthy(t, lb, "healthy")
	for _, program := range []string{"lbd", "nginx"} {
		signal := func(name string) {
			t.Helper()
			eventually(t, func() error { // a worker, or an nginx -t, may have ended since it was seen
				_, err := command("/", "", "docker", "exec", lb, "sh", "-c", "kill -"+name+" "+strings.Join(pids(t, lb, program), " "))
				return err
			})
		}
		signal("STOP")
		healthy(t, lb, "unhealthy")
		signal("CONT")
		healthy(t, lb, "healthy")
	}
	docker(t, "stop", "--time", "1", "bazbeans-health-redis")
	eventually(t, func() error {
		if _, err := command("/", "", "docker", "exec", lb, "bbinit", "health", "http://127.0.0.1:9180/readyz"); err == nil {
			return errors.New("lbd is ready though redis is away")
		}
		return nil
	})
	var checks struct{ Log []struct{ Start time.Time } }
	last := func() time.Time {
		if err := json.Unmarshal([]byte(docker(t, "inspect", "--format", "{{json .State.Health}}", lb)), &checks); err != nil || len(checks.Log) == 0 {
			t.Fatalf("no checks: %v", err)
		}
		return checks.Log[len(checks.Log)-1].Start
	}
	from, seen := last(), 0
	eventually(t, func() error { // three checks more: one that fails would be seen
		if now := last(); now.After(from) {
			from = now
			seen++
		}
		if seen < 4 {
			return fmt.Errorf("%d checks seen", seen)
		}
		return nil
	})
	healthy(t, lb, "healthy")
}

func logs(t *testing.T, container string) string {
	t.Helper()
	out, err := command("/", "", "sh", "-c", "docker logs "+container+" 2>&1")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// processes are those of a container: id, as seen inside, and name.
func processes(t *testing.T, container string) map[string]string {
	t.Helper()
	out := docker(t, "exec", container, "sh", "-c", `for p in /proc/[0-9]*; do read -r name <$p/comm && echo "${p#/proc/} $name"; done 2>/dev/null; true`)
	all := map[string]string{}
	for line := range strings.Lines(out) {
		pid, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name != "sh" {
			all[pid] = name
		}
	}
	return all
}

// pids are the processes of that name, the oldest first: of Nginx that is the master.
func pids(t *testing.T, container, name string) (ids []string) {
	t.Helper()
	for pid, n := range processes(t, container) {
		if n == name {
			ids = append(ids, pid)
		}
	}
	slices.SortFunc(ids, func(a, b string) int { return len(a)*1000 + strings.Compare(a, b) - len(b)*1000 })
	return ids
}
