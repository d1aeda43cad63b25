package systemd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// site is a machine with Debian's stock Nginx, a TLS site on it whose backends are ours, lbd and bbagent as their units
// start them.
type site struct {
	*machine
	nodes []string
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
	s := &site{machine: bootDebian(t)}
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
		s.copy(t, filepath.Join(bin, name), checkout+"/bin/"+name, 0o755)
	}
	for _, name := range []string{"lbd.service", "bbagent.service", "bbagent-compose.conf"} {
		s.copy(t, name, checkout+"/systemd/"+name, 0o644)
	}
	s.copy(t, filepath.Join(bin, "bbctl"), "/usr/local/bin/bbctl", 0o755)
	s.write(t, checkout+"/lbd.yaml", lbdConfig, 0o600)
	s.write(t, checkout+"/bbagent.yaml", agentConfig, 0o600)
	s.must(t, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=site", "-keyout", "/etc/ssl/private/site.key", "-out", "/etc/ssl/certs/site.pem")
	s.must(t, "chmod", "600", "/etc/ssl/private/site.key")
	s.write(t, "/etc/nginx/conf.d/upstream.conf", upstream, 0o644)
	s.write(t, "/etc/nginx/sites-enabled/site", tlsSite, 0o644)
	s.must(t, "systemctl", "restart", "nginx")
	s.follow(t, "bin/lbd")
	s.follow(t, "bin/bbagent")
	s.backend(t, "web1", "127.0.1.1:8001")
	s.backend(t, "web2", "127.0.1.2:8001")
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
			s.must(t, "sh", "-ec", "cd "+checkout+"\n"+example)
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

// backend is an application that answers with its name.
func (s *site) backend(t *testing.T, name, addr string) {
	t.Helper()
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) })}
	ln := s.listen(t, addr)
	go srv.Serve(ln) // ends with Close
	t.Cleanup(func() { srv.Close() })
	s.nodes = append(s.nodes, name)
}

// agent starts one more agent, in a unit of its own.
func (s *site) agent(t *testing.T, node, address string, port int) {
	t.Helper()
	s.must(t, "systemd-run", "--quiet", "--unit="+node, "bbagent", "--node-id="+node, "--address="+address, fmt.Sprint("--node-port=", port),
		"--cpu-threshold=100", "--memory-threshold=100", "--heartbeat-ttl=60s")
}

func (s *site) client() *http.Client {
	return &http.Client{Timeout: soon, Transport: &http.Transport{
		DialContext:     func(_ context.Context, _, addr string) (net.Conn, error) { return s.dial(addr) },
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the certificate is the site's own
	}}
}

// get fetches a page in the machine.
func get(c *http.Client, url string) (code int, body string, err error) {
	resp, err := c.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

const front = "https://127.0.0.1/"

// serves waits until exactly these nodes answer through Nginx.
func (s *site) serves(t *testing.T, nodes ...string) {
	t.Helper()
	c := s.client()
	defer c.CloseIdleConnections()
	want, got := strings.Join(nodes, " "), ""
	eventually(t, "nginx sends to "+want, func() bool {
		seen := map[string]bool{}
		for range 10 {
			if code, name, err := get(c, front); err == nil && code == http.StatusOK {
				seen[name] = true
			}
		}
		var list []string
		for _, n := range s.nodes {
			if seen[n] {
				list = append(list, n)
			}
		}
		got = strings.Join(list, " ")
		return got == want
	}, func() string { return fmt.Sprintf("it sends to %q; %s\n%s", got, s.readyz(), s.journal("lbd")) })
}

// readyz is what lbd says of itself: ok, or what is wrong.
func (s *site) readyz() string {
	c := s.client()
	defer c.CloseIdleConnections()
	_, body, err := get(c, "http://127.0.0.1:9180/readyz")
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(body)
}

func (s *site) ready(t *testing.T) {
	t.Helper()
	said := ""
	eventually(t, "lbd is ready", func() bool { said = s.readyz(); return said == "ok" }, func() string { return said + "\n" + s.journal("lbd") })
}

// journal is the end of what a unit and systemd said of it.
func (s *site) journal(unit string, more ...string) string {
	out, _ := s.run(append([]string{"journalctl", "--no-pager", "--output=cat", "--lines=30", "--unit=" + unit}, more...)...)
	return out
}

// dropIn sets what stands in [Service] beside the unit of lbd or bbagent; "" takes it away. The unit is started anew.
func (s *site) dropIn(t *testing.T, unit, text string) {
	t.Helper()
	s.setDropIn(t, unit, text)
	s.must(t, "systemctl", "restart", unit)
}

// setDropIn is dropIn, and leaves the unit as it runs.
func (s *site) setDropIn(t *testing.T, unit, text string) {
	t.Helper()
	path := "/etc/systemd/system/" + unit + ".service.d/test.conf"
	if text == "" {
		s.must(t, "rm", "--force", path)
	} else {
		s.write(t, path, "[Service]\n"+text+"\n", 0o644)
	}
	s.must(t, "systemctl", "daemon-reload")
}

// underTraffic sends requests while fn does something to the site: no request may fail.
func (s *site) underTraffic(t *testing.T, fn func()) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	var mu sync.Mutex
	sent, failed := 0, []error(nil)
	for range 2 {
		all.Go(func() {
			c := s.client()
			defer c.CloseIdleConnections()
			for ctx.Err() == nil {
				code, body, err := get(c, front)
				if err == nil && code != http.StatusOK {
					err = errors.New(fmt.Sprint(code, " ", body))
				}
				mu.Lock()
				if sent++; err != nil {
					failed = append(failed, err)
				}
				mu.Unlock()
				time.Sleep(2 * time.Millisecond) // the rate of the load, not a wait
			}
		})
	}
	defer func() {
		stop()
		all.Wait()
		if len(failed) > 0 || sent == 0 {
			t.Errorf("%d of %d requests failed: %v", len(failed), sent, failed[:min(3, len(failed))])
		}
		t.Logf("%d requests", sent)
	}()
	fn()
}
