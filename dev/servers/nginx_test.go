package servers_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// get is one GET on a connection of its own.
func get(addr string) (status int, body string, err error) {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + addr + "/")
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

func TestNginxDefaultConfProxiesToAppBackend(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Proto+" from "+r.Host)
	}))
	defer backend.Close()
	n := serverstest.Nginx(t, servers.NginxOptions{Workers: 1, Files: map[string]string{
		"conf.d/upstream.conf": "upstream app_backend { server " + backend.Listener.Addr().String() + "; keepalive 4; }\n",
	}})
	status, body, err := get(n.Listen[0])
	if want := "HTTP/1.1 from 127.0.0.1"; err != nil || status != 200 || body != want {
		t.Errorf("GET: %d %q %v, want 200 %q", status, body, err, want)
	}
}

func TestNginxKillAndRestart(t *testing.T) {
	n := serverstest.Nginx(t, servers.NginxOptions{})
	if status, _, err := get(n.Listen[0]); status != http.StatusBadGateway {
		t.Errorf("GET without a node: %d %v, want 502", status, err)
	}
	if text, err := os.ReadFile(n.PIDFile); err != nil || strings.TrimSpace(string(text)) != fmt.Sprint(n.Master()) {
		t.Errorf("pid file: %q %v, want %d", text, err, n.Master())
	}
	if err := n.Kill(); err != nil {
		t.Fatal(err)
	}
	if n.Alive() || dial(n.Listen[0]) == nil {
		t.Error("after Kill something still runs")
	}
	if _, err := os.Stat(n.PIDFile); err != nil {
		t.Errorf("after Kill the pid file is left behind by a real nginx: %v", err)
	}

	conf := "upstream app_backend { server 127.0.0.1:9 down; }\nserver { listen " + n.Listen[0] + "; server_name 127.0.0.1; return 200 new; }\n"
	if err := os.WriteFile(filepath.Join(n.Prefix, "conf.d/upstream.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := n.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, body, err := get(n.Listen[0]); body != "new" {
		t.Errorf("GET after Restart: %d %q %v, want what is on disk now", status, body, err)
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(n.PIDFile); n.Alive() || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Stop: alive %v, pid file %v", n.Alive(), err)
	}
}

func TestNginxKeepsWhatASiteLeftInTheFolder(t *testing.T) {
	dir := serverstest.Dir(t)
	n := serverstest.Nginx(t, servers.NginxOptions{Dir: dir})
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "conf.d/upstream.conf")
	left := "upstream app_backend { server 127.0.0.1:1; }\n"
	if err := os.WriteFile(path, []byte(left), 0o644); err != nil {
		t.Fatal(err)
	}
	serverstest.Nginx(t, servers.NginxOptions{Dir: dir})
	if text, err := os.ReadFile(path); err != nil || string(text) != left {
		t.Errorf("upstream.conf after a second start: %q %v, want %q", text, err, left)
	}
}

func TestNginxWithItsOwnConf(t *testing.T) {
	addr := servers.Loopback(serverstest.Ports(t, 1)[0])
	n := serverstest.Nginx(t, servers.NginxOptions{
		Conf:  "pid run/n.pid; error_log logs/e.log;\nevents {}\nhttp { access_log off; server { listen " + addr + "; include extra.inc; } }\n",
		Files: map[string]string{"extra.inc": "return 200 extra;", "run/.keep": "", "logs/.keep": ""},
	})
	if _, body, err := get(addr); body != "extra" {
		t.Errorf("GET: %q %v", body, err)
	}
	for name, path := range map[string]string{"run/n.pid": n.PIDFile, "logs/e.log": n.ErrorLog, "nginx.conf": n.Conf} {
		if want := filepath.Join(n.Prefix, name); path != want {
			t.Errorf("path %s, want %s", path, want)
		} else if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestNginxStartErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		opts servers.NginxOptions
		want string
	}{
		{"bad directive", servers.NginxOptions{Conf: "pid p;\nevents {}\nno_such_directive;\n"}, `unknown directive "no_such_directive"`},
		{"no pid line", servers.NginxOptions{Conf: "events {}\n"}, "no `pid` line"},
		{"file outside", servers.NginxOptions{Files: map[string]string{"../x": ""}}, "not below the folder"},
		{"missing program", servers.NginxOptions{Binary: "no-such-nginx"}, "make deps"},
	} {
		c.opts.Dir = serverstest.Dir(t)
		_, err := servers.StartNginx(t.Context(), c.opts)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
