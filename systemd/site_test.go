// Package systemd is the units of lbd and bbagent, and tests that boot Debian with them. It holds no code.
package systemd

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/dev/machine"
)

var (
	boot     = flag.Bool("boot", false, "boot Debian in a container and test the units there (make test-systemd); needs root, systemd-nspawn, and debootstrap for the first time")
	binaries = flag.String("bin", "", "a `folder` with the lbd, bbagent and bbctl to test; they are built if there is none")
)

// site is a machine with Debian's stock Nginx, a TLS site on it whose backends are ours, lbd and bbagent as their units
// start them.
type site struct {
	*machine.Machine
}

// The site's own part of Nginx's configuration: what docs/lbd.md tells an operator to have, and TLS.
const (
	tlsSite = `init_by_lua_block { local n = 0 for i = 1, 1e6 do n = n + i % 7 end }
server {
	listen 443 ssl;
	listen [::]:443 ssl;
	ssl_certificate /etc/ssl/certs/site.pem;
	ssl_certificate_key /etc/ssl/private/site.key;
	location / {
		proxy_pass http://app_backend;
		proxy_http_version 1.1;
		proxy_set_header Connection "";
	}
}
`
	upstream  = "upstream app_backend { server 127.0.1.1:8001; }\n"
	lbdConfig = `id: lb1
upstreams:
  - name: app_backend
    output: /etc/nginx/conf.d/upstream.conf
allow_networks: [127.0.0.0/8]
`
	agentConfig = `node_id: web1
address: 127.0.1.1
node_port: 8001
cpu_threshold: 100
memory_threshold: 100
heartbeat_interval: 1s
heartbeat_ttl: 60s
`
)

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{machine.Boot(t)}
	bin := *binaries
	if bin == "" {
		bin = t.TempDir()
		build := exec.Command("go", "build", "-o", bin+string(filepath.Separator), "../cmd/lbd", "../cmd/bbagent", "../cmd/bbctl")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build the binaries: %v\n%s", err, out)
		}
	}
	for _, name := range []string{"lbd", "bbagent", "bbctl"} {
		s.Copy(t, filepath.Join(bin, name), checkout+"/bin/"+name, 0o755)
	}
	for _, name := range []string{"lbd.service", "bbagent.service", "bbagent-compose.conf"} {
		s.Copy(t, name, checkout+"/systemd/"+name, 0o644)
	}
	s.Copy(t, filepath.Join(bin, "bbctl"), "/usr/local/bin/bbctl", 0o755)
	s.Write(t, checkout+"/lbd.yaml", lbdConfig, 0o600)
	s.Write(t, checkout+"/bbagent.yaml", agentConfig, 0o600)
	s.Must(t, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=site", "-keyout", "/etc/ssl/private/site.key", "-out", "/etc/ssl/certs/site.pem")
	s.Must(t, "chmod", "600", "/etc/ssl/private/site.key")
	s.Write(t, "/etc/nginx/conf.d/upstream.conf", upstream, 0o644)
	s.Write(t, "/etc/nginx/sites-enabled/site", tlsSite, 0o644)
	s.Must(t, "systemctl", "restart", "nginx")
	s.follow(t, "bin/lbd")
	s.follow(t, "bin/bbagent")
	s.Backend(t, "web1", "127.0.1.1:8001")
	s.Backend(t, "web2", "127.0.1.2:8001")
	s.agent(t, "web2", "127.0.1.2", 8001)
	s.serves(t, "web1", "web2")
	return s
}

// checkout is where the machine has what an operator has after `make build`, and his own settings.
const checkout = "/root/bazbeans"

// follow does what the page tells an operator to do: the example in which a text occurs.
func (s *site) follow(t *testing.T, text string) {
	t.Helper()
	for _, example := range examples(t, "sh") {
		if strings.Contains(example, text) {
			s.Must(t, "sh", "-ec", "cd "+checkout+"\n"+example)
			return
		}
	}
	t.Fatalf("docs/systemd.md has no example with %q", text)
}

// examples are the page's examples in a language.
func examples(t *testing.T, language string) (texts []string) {
	t.Helper()
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(page(t), -1) {
		texts = append(texts, m[1])
	}
	return texts
}

func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/systemd.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// agent starts one more agent, in a unit of its own.
func (s *site) agent(t *testing.T, node, address string, port int) {
	t.Helper()
	s.Must(t, "systemd-run", "--quiet", "--unit="+node, "bbagent", "--node-id="+node, "--address="+address, fmt.Sprint("--node-port=", port),
		"--cpu-threshold=100", "--memory-threshold=100", "--heartbeat-ttl=60s")
}

const front = "https://127.0.0.1/"

// readyz is what lbd says of itself: ok, or what is wrong.
func (s *site) readyz() string {
	_, body, err := s.Get("http://127.0.0.1:9180/readyz")
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(body)
}

func (s *site) ready(t *testing.T) {
	t.Helper()
	said := ""
	machine.Eventually(t, "lbd is ready", func() bool { said = s.readyz(); return said == "ok" }, func() string { return said + "\n" + s.Journal("lbd") })
}

// dropIn sets what stands in [Service] beside the unit of lbd or bbagent; "" takes it away. The unit is started anew.
func (s *site) dropIn(t *testing.T, unit, text string) {
	t.Helper()
	s.setDropIn(t, unit, text)
	s.Must(t, "systemctl", "restart", unit)
}

// setDropIn is dropIn, and leaves the unit as it runs.
func (s *site) setDropIn(t *testing.T, unit, text string) {
	t.Helper()
	path := "/etc/systemd/system/" + unit + ".service.d/test.conf"
	if text == "" {
		s.Must(t, "rm", "--force", path)
	} else {
		s.Write(t, path, "[Service]\n"+text+"\n", 0o644)
	}
	s.Must(t, "systemctl", "daemon-reload")
}

// serves waits until exactly these nodes answer through Nginx.
func (s *site) serves(t *testing.T, nodes ...string) {
	t.Helper()
	s.Serves(t, front, func() string { return s.readyz() + "\n" + s.Journal("lbd") }, nodes...)
}

// underTraffic sends requests while fn does something to the site: no request may fail.
func (s *site) underTraffic(t *testing.T, fn func()) {
	t.Helper()
	s.UnderTraffic(t, front, fn)
}
