package nginxtest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// site is a small site on loopback: Redis, nodes with their agents and applications, and a load balancer. Its methods
// are the words that the stories are told in: want… waits until it is so, and fails the test if that takes too long.
type site struct {
	t     testing.TB
	dir   string
	redis *servers.Redis
	rdb   *redis.Client
	nodes map[string]*node
	heard *heard
	*balancer
}

// options say what differs from a plain site.
type options struct {
	nodes     []string          // there before lbd starts
	redis     []string          // more arguments of redis-server
	config    string            // more of lbd.yaml
	upstreams string            // `upstreams:` of lbd.yaml; default: app_backend. CONF.D stands for the folder that Nginx includes
	files     map[string]string // of Nginx when it starts; see servers.NginxOptions
	byFlags   bool              // lbd is told by flags, and has no config file
	engine    string            // nginx.live of lbd.yaml, with apply: live; "": by reloads
	debian    string            // whose Nginx; "": this machine's
}

// newSite starts a site and waits until Nginx sends to all of its nodes.
func newSite(t *testing.T, o options) *site {
	t.Helper()
	dir := serverstest.Dir(t)
	s := &site{t: t, dir: dir, redis: serverstest.Redis(t, o.redis...), nodes: map[string]*node{}}
	s.rdb = redis.NewClient(&redis.Options{Addr: s.redis.Addr(), MaxRetries: -1, DialTimeout: soon, ReadTimeout: soon, WriteTimeout: soon})
	t.Cleanup(func() {
		if err := s.rdb.Close(); err != nil {
			t.Error(err)
		}
	})
	s.heard = listen(t, s.rdb)
	for _, id := range o.nodes {
		s.node(id)
	}
	s.balancer = s.newBalancer("lb1", o)
	s.balancer.start()
	if len(o.nodes) > 0 && o.upstreams == "" {
		s.wantServers(o.nodes...)
		s.balancer.wantAck()
	}
	return s
}

// bbctl runs the operator's tool, which must do what it was told, and returns what it printed.
func (s *site) bbctl(args ...string) string {
	s.t.Helper()
	return s.bbctlExit(0, args...).stdout
}

func (s *site) bbctlExit(code int, args ...string) result {
	s.t.Helper()
	r := run(s.t, s.dir, "bbctl", append([]string{"--redis-url", s.redis.URL()}, args...)...)
	if r.code != code {
		s.t.Fatalf("bbctl %q: want exit code %d, got %v", args, code, r)
	}
	return r
}

// node is an application server: the application, which answers with its node's id, and its agent.
type node struct {
	s       *site
	id      string
	app     *load.Backend
	agent   *daemon
	restart func() *daemon // starts its agent once more, told the same
}

// node starts an application and an agent of ours beside it; flags are added to the agent's. Its heartbeats are
// quick, and how busy this machine is must not decide a test: only one that is to die is mortal.
func (s *site) node(id string, flags ...string) *node {
	s.t.Helper()
	return s.agentOf(s.application(id, "127.0.0.1:0"), flags...)
}

// mortal are flags of a node whose heartbeat's end is waited for.
var mortal = []string{"--heartbeat-ttl", "4s"}

// agentOf starts an agent of ours beside an application.
func (s *site) agentOf(n *node, flags ...string) *node {
	s.t.Helper()
	host, port, err := net.SplitHostPort(n.app.Addr())
	if err != nil {
		s.t.Fatal(err)
	}
	args := append([]string{"--redis-url", s.redis.URL(), "--node-id", n.id, "--address", host, "--node-port", port,
		"--heartbeat-interval", "500ms", "--heartbeat-ttl", "10s", "--command-poll-interval", "200ms",
		"--cpu-threshold", "100", "--memory-threshold", "100", "--app-dir", "/", "--state-dir", s.dir}, flags...)
	n.restart = func() *daemon {
		n.agent = start(s.t, s.dir, "bbagent", args...)
		return n.agent
	}
	n.restart()
	return n
}

// application starts the application of a node, without an agent.
func (s *site) application(id, addr string) *node {
	s.t.Helper()
	app, err := load.Listen(addr, id)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(app.Kill)
	n := &node{s: s, id: id, app: app}
	s.nodes[id] = n
	return n
}

// idAt is the node at an address, or the address if no node is there.
func (s *site) idAt(addr string) string {
	for id, n := range s.nodes {
		if n.app.Addr() == addr {
			return id
		}
	}
	return addr
}

// balancer is one load balancer: an Nginx and the lbd that keeps it in step.
type balancer struct {
	s      *site
	id     string
	dir    string // its own folder; Nginx's prefix is below it
	nginx  *servers.Nginx
	output string // the file that lbd writes
	url    string // of lbd's HTTP
	conf   string // lbd.yaml; "" with flags
	args   []string
	lbd    *daemon
}

// newBalancer starts an Nginx and prepares its lbd.
func (s *site) newBalancer(id string, o options) *balancer {
	s.t.Helper()
	dir := filepath.Join(s.dir, id)
	b := &balancer{s: s, id: id, dir: dir, output: filepath.Join(dir, "nginx/conf.d/upstream.conf")}
	for _, d := range []string{"templates", "state"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			s.t.Fatal(err)
		}
	}
	b.nginx = serverstest.Nginx(s.t, o.nginx(s.t, filepath.Join(dir, "nginx")))
	listen := servers.Loopback(serverstest.Ports(s.t, 1)[0])
	b.url = "http://" + listen
	if o.byFlags {
		b.args = []string{"--redis-url", s.redis.URL(), "--id", id, "--upstream-file", b.output, "--allow-network", "127.0.0.0/8",
			"--nginx-conf", b.nginx.Conf, "--nginx-pid", b.nginx.PIDFile, "--nginx-prefix", b.nginx.Prefix, "--status-listen", listen,
			"--templates", filepath.Join(dir, "templates"), "--state-dir", filepath.Join(dir, "state")}
		return b
	}
	if o.upstreams == "" {
		o.upstreams = "upstreams: [{name: app_backend, output: CONF.D/upstream.conf}]\n"
	}
	b.conf = filepath.Join(dir, "lbd.yaml")
	b.args = []string{"--config", b.conf}
	b.configure(fmt.Sprintf(`id: %s
redis: {url: %q}
nginx: {binary: %q, conf: %q, pid: %q, prefix: %q%s}
allow_networks: [127.0.0.0/8]
templates: %q
state_dir: %q
status: {listen: %q}
`, id, s.redis.URL(), b.nginx.Binary, b.nginx.Conf, b.nginx.PIDFile, b.nginx.Prefix, o.live(s.t), filepath.Join(dir, "templates"), filepath.Join(dir, "state"), listen) +
		strings.ReplaceAll(o.upstreams, "CONF.D", filepath.Dir(b.output)) + o.config)
	return b
}

// configure writes lbd.yaml.
func (b *balancer) configure(text string) {
	b.s.t.Helper()
	write(b.s.t, b.conf, text)
}

// start starts lbd.
func (b *balancer) start() {
	b.s.t.Helper()
	b.lbd = start(b.s.t, b.dir, "lbd", b.args...)
}

// run runs another command of lbd with the same settings.
func (b *balancer) run(words ...string) result {
	b.s.t.Helper()
	return run(b.s.t, b.dir, "lbd", append(words, b.args...)...)
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
