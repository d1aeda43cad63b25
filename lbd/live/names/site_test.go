package names_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/lbd/live/names"
	"github.com/bazbeans/bazbeans/nginx-test/base"
)

// The tests wait for Nginx's seconds most of the time: more of them at once than there are cores.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

const (
	soon = time.Minute // bounds every wait for something that takes moments on a quiet machine
	app  = "app_backend"
)

// zone listens on addr, or on a port of its own when that is the zero value, and serves until stop is called.
func zone(t testing.TB, addr netip.AddrPort) (z *names.Zone, stop func()) {
	t.Helper()
	if !addr.IsValid() {
		addr = netip.MustParseAddrPort(servers.Loopback(serverstest.Ports(t, 1)[0])) // nobody takes it while we are away
	}
	z, err := names.Listen(addr, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- z.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return z, stop
}

// site is a Nginx whose upstream app_backend follows a Zone.
type site struct {
	testing.TB
	*servers.Nginx
	zone *names.Zone
	stop func() // ends the zone
	url  string
	gen  int64
}

// ipv6 within inUpstream makes Nginx ask for IPv6 addresses, too.
const ipv6 = "# with IPv6\n"

// conf is the whole configuration: two workers, and inUpstream within the block.
func conf(listen string, zone netip.AddrPort, inUpstream string) string {
	return fmt.Sprintf(`worker_processes 2;
pid nginx.pid;
error_log error.log;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
    upstream %s {
        zone %[1]s 4m;
        server %s;
        %s
        %s
    }
    server {
        listen %s;
        location / { proxy_pass http://%[1]s; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_connect_timeout 2s; add_header X-Upstream $upstream_addr always; }
    }
}
`, app, names.Server(app), strings.Join(names.Directives(zone, strings.Contains(inUpstream, ipv6)), " "), inUpstream, listen)
}

func binary(t testing.TB) string {
	t.Helper()
	root, err := base.Get(t.Context(), "sid")
	if err != nil {
		t.Fatal(err)
	}
	return root.Nginx()
}

func newSite(t testing.TB, inUpstream string, peers ...names.Peer) *site {
	t.Helper()
	s := &site{TB: t}
	s.zone, s.stop = zone(t, netip.AddrPort{})
	s.set(peers...)
	s.start(inUpstream)
	return s
}

// start starts Nginx on a free port.
func (s *site) start(inUpstream string) {
	s.Helper()
	listen := servers.Loopback(serverstest.Ports(s, 1)[0])
	s.url = "http://" + listen + "/"
	s.Nginx = serverstest.Nginx(s, servers.NginxOptions{
		Binary: binary(s), Listen: []string{listen}, Conf: conf(listen, s.zone.Addr(), inUpstream),
	})
}

func (s *site) set(peers ...names.Peer) {
	s.Helper()
	s.gen++
	if err := s.zone.Set(s.gen, []names.Upstream{{Name: app, Peers: peers}}); err != nil {
		s.Fatal(err)
	}
}

// settle waits until Nginx goes by what was set last.
func (s *site) settle() {
	s.Helper()
	serverstest.Eventually(s, soon, func() error {
		if why := s.zone.Pending(); why != "" {
			return fmt.Errorf("pending: %s", why)
		}
		return nil
	})
}

// get asks Nginx once, over a connection of its own.
func (s *site) get(path string) (status int, body string) {
	s.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon}
	resp, err := client.Get(s.url + path)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(text))
}

func (s *site) reload() {
	s.Helper()
	if err := syscall.Kill(s.Master(), syscall.SIGHUP); err != nil {
		s.Fatal(err)
	}
}

// errorLog is what Nginx has logged so far.
func (s *site) errorLog() string {
	s.Helper()
	text, err := os.ReadFile(filepath.Join(s.Prefix, "error.log"))
	if err != nil {
		s.Fatal(err)
	}
	return string(text)
}

// backend starts a sample application; it ends with the test.
func backend(t testing.TB, id string) *load.Backend {
	t.Helper()
	b, err := load.Listen("127.0.0.1:0", id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Kill)
	return b
}

func backends(t testing.TB, n int) []*load.Backend {
	t.Helper()
	var all []*load.Backend
	for i := range n {
		all = append(all, backend(t, fmt.Sprintf("node%d", i+1)))
	}
	return all
}

func peer(b *load.Backend) names.Peer {
	return names.Peer{Addr: netip.MustParseAddrPort(b.Addr()), Weight: 1}
}

func peers(all ...*load.Backend) []names.Peer {
	var list []names.Peer
	for _, b := range all {
		list = append(list, peer(b))
	}
	return list
}
