package docker

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// project is a compose project.
type project struct {
	t    *testing.T
	dir  string
	env  []string
	argv []string // docker compose, or docker-compose, and the files
}

// run runs a verb of compose, which has to do it.
func (p *project) run(args ...string) string {
	p.t.Helper()
	out, err := commandIn(p.dir, "", p.env, append(slices.Clone(p.argv), args...)...)
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// shell runs an example.
func (p *project) shell(text string) string {
	p.t.Helper()
	out, err := commandIn(p.dir, "", p.env, "sh", "-ec", text)
	if err != nil {
		p.t.Fatalf("%s\n%v", text, err)
	}
	return out
}

func (p *project) downAtEnd() {
	p.t.Cleanup(func() {
		if p.t.Failed() {
			out, _ := commandIn(p.dir, "", p.env, append(slices.Clone(p.argv), "logs", "--no-color", "--tail", "15")...)
			for line := range strings.Lines(out) {
				if !strings.Contains(line, "bazbeans-load") {
					p.t.Log(strings.TrimSpace(line))
				}
			}
		}
		_, err := commandIn(p.dir, "", p.env, append(slices.Clone(p.argv), "down", "--volumes", "--remove-orphans", "--timeout", "2")...)
		complain(err)
	})
}

// containers are the names of a service's.
func (p *project) containers(service string) []string {
	p.t.Helper()
	var names []string
	for id := range strings.FieldsSeq(p.run("ps", "-q", service)) {
		names = append(names, strings.TrimPrefix(docker(p.t, "inspect", "--format", "{{.Name}}", id), "/"))
	}
	slices.Sort(names)
	return names
}

// site is docker/compose.yml with addresses that are free here.
func site(t *testing.T, name string, argv ...string) (p *project, lb1, lb2 string) {
	t.Helper()
	ports := serverstest.Ports(t, 2)
	lb1, lb2 = fmt.Sprint("127.0.0.1:", ports[0]), fmt.Sprint("127.0.0.1:", ports[1])
	p = &project{t: t, dir: world.checkout + "/docker", argv: argv,
		env: env("COMPOSE_PROJECT_NAME="+name, "LB1_LISTEN="+lb1, "LB2_LISTEN="+lb2)}
	p.downAtEnd()
	return p, lb1, lb2
}

// followed replaces the addresses of the page.
func followed(text, lb1, lb2 string) string {
	return strings.NewReplacer("127.0.0.1:8081", lb1, "127.0.0.1:8082", lb2).Replace(text)
}

// The page's site, from its text, under traffic, with docker compose 2.
func TestSite(t *testing.T) {
	needEngine(t)
	p, lb1, lb2 := site(t, "bazbeans-site", "docker", "compose")
	if out, err := commandIn(world.checkout, "", p.env, "sh", "-ec", example(t, "deploy-compose", "sh", "make images")); err != nil {
		t.Fatal(out, err)
	}
	all := strings.Fields(p.run("ps", "--format", "{{.Name}}"))
	if len(all) != 13 {
		t.Errorf("%d containers run, want 13: %s", len(all), all)
	}
	for _, name := range all {
		healthy(t, name, "healthy")
	}
	one, two := startTraffic(t, lb1), startTraffic(t, lb2)
	one.reaches(6)
	two.reaches(6)
	out := p.shell(followed(example(t, "deploy-compose", "sh", "curl --silent"), lb1, lb2))
	if strings.Count(out, " dc1 ") != 3 || strings.Count(out, " dc2 ") != 3 || !strings.Contains(out, "lb1") || !strings.Contains(out, "lb2") {
		t.Errorf("the site shows itself as\n%s", out)
	}
	limits(t, p)

	t.Run("freeze and unfreeze", func(t *testing.T) {
		if out := p.shell(example(t, "deploy-compose", "sh", "--wait")); !strings.Contains(out, "drained") {
			t.Errorf("bbctl freeze --wait: %s", out)
		}
		one.reaches(6)
		two.reaches(6)
	})
	t.Run("more nodes, fewer nodes", func(t *testing.T) {
		more, fewer, _ := strings.Cut(example(t, "deploy-compose", "sh", "--scale web=6"), "\n")
		p.shell(more)
		one.reaches(9)
		two.reaches(9)
		p.shell(fewer)
		one.reaches(5)
		two.reaches(5)
	})
	t.Run("a node is stopped with a request under way", func(t *testing.T) {
		name := p.containers("web")[0]
		ip := docker(t, "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name)
		slowEndsWell(t, "http://"+ip+":8000/slow", func() { docker(t, "stop", "--time", "60", name) })
		if code := docker(t, "inspect", "--format", "{{.State.ExitCode}}", name); code != "0" {
			t.Errorf("the container ended with %s", code)
		}
		one.reaches(4)
	})
	t.Run("settings anew", func(t *testing.T) {
		p.shell(example(t, "deploy-compose", "sh", "kill -HUP"))
		for _, lb := range []string{"lb1", "lb2"} {
			eventually(t, func() error {
				if !strings.Contains(p.run("logs", lb), "config and templates were read again") {
					return errors.New(lb + " has not read its config again")
				}
				return nil
			})
		}
	})
	t.Run("the master of redis is killed", func(t *testing.T) {
		p.run("kill", "redis-1")
		eventually(t, func() error { return p.role("redis-2", "master") })
		// What operators do goes to the new one, and both load balancers hear of it.
		eventually(t, func() error {
			_, err := commandIn(p.dir, "", p.env, "docker", "compose", "run", "--rm", "bbctl", "lbs")
			return err
		})
		name := p.containers("web-dc2")[0]
		node := docker(t, "inspect", "--format", "{{.Config.Hostname}}", name)
		eventually(t, func() error {
			out, err := commandIn(p.dir, "", p.env, "docker", "compose", "run", "--rm", "bbctl", "freeze", node, "--wait", "--reason", "test")
			if err == nil && !strings.Contains(out, "drained") {
				err = errors.New(out)
			}
			return err
		})
		one.reaches(3)
		p.run("start", "redis-1")
		eventually(t, func() error { return p.role("redis-1", "slave") })
	})
	t.Run("a load balancer is restarted", func(t *testing.T) {
		one.unharmed()
		p.run("restart", "lb1")
		healthy(t, p.containers("lb1")[0], "healthy")
		one = startTraffic(t, lb1)
		one.reaches(3)
	})
	one.unharmed()
	two.unharmed()
	began := time.Now()
	p.run("down")
	t.Logf("down took %s", time.Since(began).Round(time.Second))
}

// role is nil when a Redis says that it has that role.
func (p *project) role(service, want string) error {
	out, err := commandIn(p.dir, "", p.env, append(slices.Clone(p.argv), "exec", "-T", service, "redis-cli", "role")...)
	if err == nil && !strings.HasPrefix(out, want) {
		err = fmt.Errorf("%s is %s, want %s", service, out, want)
	}
	return err
}

// limits holds all containers to what the page says of them.
func limits(t *testing.T, p *project) {
	t.Helper()
	for id := range strings.FieldsSeq(p.run("ps", "-q")) {
		var c struct {
			Name       string
			Config     struct{ User string }
			HostConfig struct {
				ReadonlyRootfs               bool
				CapDrop, CapAdd, SecurityOpt []string
				Memory, NanoCpus, PidsLimit  int64
			}
		}
		if err := json.Unmarshal([]byte(docker(t, "inspect", "--format", "{{json .}}", id)), &c); err != nil {
			t.Fatal(err)
		}
		user := "101:101"
		if strings.Contains(c.Name, "redis") || strings.Contains(c.Name, "sentinel") {
			user = "999:1000"
		}
		h := c.HostConfig
		if c.Config.User != user || !h.ReadonlyRootfs || !slices.Equal(h.CapDrop, []string{"ALL"}) || len(h.CapAdd) > 0 ||
			!slices.Equal(h.SecurityOpt, []string{"no-new-privileges:true"}) || h.Memory == 0 || h.NanoCpus == 0 || h.PidsLimit == 0 {
			t.Errorf("the page promises more than this: %+v", c)
		}
	}
}

// promised holds each service of the file, also those that are not started, to what the page says of every container.
func promised(t *testing.T) {
	t.Helper()
	p := &project{t: t, dir: world.checkout + "/docker", argv: []string{"docker", "compose"}, env: env("COMPOSE_PROFILES=redis,lb,web,tools")}
	var file struct {
		Services map[string]struct {
			ReadOnly    bool            `json:"read_only"`
			CapDrop     []string        `json:"cap_drop"`
			SecurityOpt []string        `json:"security_opt"`
			Memory      json.RawMessage `json:"mem_limit"`
			CPUs        json.RawMessage `json:"cpus"`
			PIDs        json.RawMessage `json:"pids_limit"`
		}
	}
	if err := json.Unmarshal([]byte(p.run("config", "--format", "json")), &file); err != nil || len(file.Services) != 10 {
		t.Fatalf("%d services, want 10: %v", len(file.Services), err)
	}
	for name, s := range file.Services {
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) ||
			s.Memory == nil || s.CPUs == nil || s.PIDs == nil {
			t.Errorf("the page promises more than this of %s: %+v", name, s)
		}
	}
}

// The same files with the first compose, which has ideas of its own: a short story.
func TestSiteWithCompose1(t *testing.T) {
	needEngine(t)
	images(t)
	p, lb1, lb2 := site(t, "bazbeans-site1", "docker-compose")
	p.run("up", "--detach")
	one, two := startTraffic(t, lb1), startTraffic(t, lb2)
	one.reaches(6)
	two.reaches(6)
	out := p.run("logs", "web")
	for _, lost := range []string{"no folder to remember commands in", "what the agent remembered is lost", "a freeze is not kept", "the journal was damaged"} {
		if strings.Contains(out, lost) {
			t.Errorf("agents say %q:\n%s", lost, out)
		}
	}
	p.run("up", "--detach", "--no-recreate", "--scale", "web=4", "--scale", "web-dc2=1")
	one.reaches(5)
	two.reaches(5)
	if out := p.run("run", "--rm", "bbctl", "list-nodes"); strings.Count(out, " active ") != 5 {
		t.Errorf("bbctl list-nodes: %s", out)
	}
}

// Both composes take the files, with each choice of profiles.
func TestComposeFilesAreValid(t *testing.T) {
	needEngine(t)
	want := map[string]string{
		"redis,lb,web": "lb1 lb2 redis-1 redis-2 sentinel-1 sentinel-2 sentinel-3 web web-dc2",
		"redis":        "redis-1 redis-2 sentinel-1 sentinel-2 sentinel-3",
		"lb":           "lb1 lb2",
		"web":          "web web-dc2",
		"lb,tools":     "bbctl lb1 lb2",
	}
	for _, argv := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		for profiles, services := range want {
			p := &project{t: t, dir: world.checkout + "/docker", argv: argv, env: env("COMPOSE_PROFILES=" + profiles)}
			got := strings.Fields(p.run("config", "--services"))
			if argv[0] == "docker-compose" { // it lists all, and starts what it should
				continue
			}
			slices.Sort(got)
			if strings.Join(got, " ") != services {
				t.Errorf("%s: profiles %s start %s, want %s", argv, profiles, got, services)
			}
		}
		p := &project{t: t, dir: world.checkout + "/docker", argv: argv, env: env()}
		p.argv = append(p.argv, "-f", "compose.yml", "-f", "compose.dev.yml")
		if out := p.run("config"); !strings.Contains(out, "rerun.sh") {
			t.Errorf("%s: the override for developers says\n%s", argv, out)
		}
	}
	promised(t)
	p := &project{t: t, dir: world.checkout + "/docker", env: env()}
	if got := strings.Fields(p.shell(example(t, "deploy-compose", "sh", "COMPOSE_PROFILES=lb"))); len(got) != 2 {
		t.Errorf("the page's example for a load balancer alone starts %s", got)
	}
	// As a user has it: the defaults of .env are the public images.
	out, err := commandIn(world.checkout+"/docker", "", []string{"PATH=" + os.Getenv("PATH"), "DOCKER_CONFIG=" + world.plugins}, "docker", "compose", "config")
	for _, want := range []string{"nginx:1.28", "golang:1.26", "redis:7-alpine", "bazbeans/lbd:latest", "127.0.0.1"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("the defaults lack %s: %v", want, err)
		}
	}
}

// Who changes a file of the checkout sees it served a little later, and no request is lost by that.
func TestDevelop(t *testing.T) {
	needEngine(t)
	images(t)
	p, lb1, _ := site(t, "bazbeans-dev", "docker", "compose", "-f", "compose.yml", "-f", "compose.dev.yml", "-f", "compose.here.yml")
	dirs := goDirs(t)
	write(t, p.dir, "compose.here.yml", "services:\n  go:\n    environment: {GOFLAGS: -mod=mod, GOPROXY: 'off', PATH: '"+dirs.root+"/bin:/usr/bin:/bin', GOCACHE: "+dirs.cache+", GOMODCACHE: "+dirs.modules+"}\n"+
		"    volumes: ['"+dirs.root+":"+dirs.root+":ro', '"+dirs.cache+":"+dirs.cache+"', '"+dirs.modules+":"+dirs.modules+":ro']\n")
	const files = "-f compose.dev.yml"
	p.shell(strings.Replace(example(t, "deploy-compose", "sh", files), files, files+" -f compose.here.yml", 1)) // Go and modules of this machine
	tr := startTraffic(t, lb1)
	within(t, 3*time.Minute, func() error { // it compiles first
		if c := tr.Counts(); len(c.ByNode) != 6 {
			return fmt.Errorf("%+v; %s", c, p.run("logs", "--tail", "5", "go"))
		}
		return nil
	})
	tr.End()
	tr = startTraffic(t, lb1)
	file := world.checkout + "/templates/upstream.conf.tmpl"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const zone = "    zone {{.Name}}"
	changed := strings.Replace(string(text), zone, "    # changed by a developer\n"+zone, 1)
	if err := os.WriteFile(file, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	within(t, 3*time.Minute, func() error {
		out := p.run("exec", "-T", "lb1", "cat", "/etc/nginx/upstreams/app_backend.conf")
		if !strings.Contains(out, "# changed by a developer") {
			return errors.New(out)
		}
		return nil
	})
	tr.reaches(6)
	tr.unharmed()
}

func within(t *testing.T, d time.Duration, condition func() error) {
	t.Helper()
	serverstest.Eventually(t, d, condition)
}
