package base_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/nginx-test/base"
)

const soon = time.Minute

func root(t *testing.T, suite string) *base.Root {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("one has to be root to make and enter another Debian")
	}
	r, err := base.Get(t.Context(), suite)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func each(t *testing.T, test func(t *testing.T, r *base.Root)) {
	for _, suite := range base.Suites {
		t.Run(suite, func(t *testing.T) { t.Parallel(); test(t, root(t, suite)) })
	}
}

func TestEachNginxSaysItsVersion(t *testing.T) {
	versions := map[string]string{"bookworm": `/1\.22\.`, "trixie": `/1\.26\.`, "sid": `/1\.(3\d|[4-9]\d)\.`}
	each(t, func(t *testing.T, r *base.Root) {
		for _, flag := range []string{"-v", "-V"} {
			out, err := exec.Command(r.Nginx(), flag).CombinedOutput()
			if err != nil || !regexp.MustCompile("^nginx version: nginx"+versions[r.Suite]).Match(out) {
				t.Errorf("nginx %s: %v, %s", flag, err, out)
			}
		}
	})
}

func body(addr string) (string, error) {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon}
	resp, err := c.Get("http://" + addr + "/")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return strings.TrimSpace(string(text)), err
}

// serves waits until Nginx answers text.
func serves(t *testing.T, addr, text string) {
	t.Helper()
	serverstest.Eventually(t, soon, func() error {
		got, err := body(addr)
		if err == nil && got != text {
			err = fmt.Errorf("%s answers %q, not %q", addr, got, text)
		}
		return err
	})
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestServesAPageAndReloads(t *testing.T) {
	each(t, func(t *testing.T, r *base.Root) {
		dir, addr := serverstest.Dir(t), servers.Loopback(serverstest.Ports(t, 1)[0])
		put(t, filepath.Join(dir, "a/index.html"), "a page of "+r.Suite)
		put(t, filepath.Join(dir, "b/index.html"), "another")
		conf := func(root string) string {
			return "user root; pid p; error_log e;\nevents {}\nhttp { access_log off; server { listen " + addr + "; root " + root + "; } }\n"
		}
		n := serverstest.Nginx(t, servers.NginxOptions{Binary: r.Nginx(), Dir: dir, Conf: conf("a")})
		serves(t, addr, "a page of "+r.Suite)
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", n.Master())); err != nil || exe != "/usr/sbin/nginx" {
			t.Errorf("process %d runs %s (%v)", n.Master(), exe, err)
		}

		put(t, n.Conf, conf("b"))
		command := func(args ...string) {
			t.Helper()
			if out, err := exec.Command(r.Nginx(), append([]string{"-p", dir, "-c", n.Conf, "-e", "stderr"}, args...)...).CombinedOutput(); err != nil {
				t.Errorf("nginx %s: %v\n%s", args, err, out)
			}
		}
		command("-t")
		command("-T")
		command("-s", "reload")
		serves(t, addr, "another")
		command("-s", "quit")
		serverstest.Eventually(t, soon, func() error {
			if n.Alive() {
				return fmt.Errorf("process %d goes on after quit", n.Master())
			}
			return nil
		})
	})
}

func TestAnswersFromLua(t *testing.T) {
	each(t, func(t *testing.T, r *base.Root) {
		backend := serverstest.Nginx(t, servers.NginxOptions{Conf: "user root; pid p; error_log e;\nevents {}\nhttp { access_log off; server { listen unix:b.sock; return 200 chosen-by-lua; } }\n"})
		n := serverstest.Nginx(t, servers.NginxOptions{Binary: r.Nginx(), Modules: r.Lua(), Files: map[string]string{
			"conf.d/upstream.conf": `upstream app_backend {
				server 127.0.0.1:9;
				balancer_by_lua_block { assert(require("ngx.balancer").set_current_peer("unix:` + backend.Prefix + `/b.sock")) }
			}`,
		}})
		serves(t, n.Listen[0], "chosen-by-lua")
	})
}

func TestRedisOfEach(t *testing.T) {
	each(t, func(t *testing.T, r *base.Root) {
		redis, err := servers.StartRedis(t.Context(), servers.RedisOptions{Binary: r.Redis(), Dir: serverstest.Dir(t)})
		if err != nil {
			t.Fatal(err)
		}
		defer redis.Kill()
		info, err := redis.Do("INFO", "server")
		if err != nil || strings.Contains(info, "\nserver_name:valkey") != (r.Suite == "sid") {
			t.Errorf("%v\n%s", err, info)
		}
	})
}

func TestEndsWithItsParentsSignal(t *testing.T) {
	r := root(t, "bookworm")
	n := serverstest.Nginx(t, servers.NginxOptions{Binary: r.Nginx()})
	if err := n.Stop(); err != nil { // SIGTERM to the process that was started: the wrapper must have become nginx
		t.Error(err)
	}
	if present, _ := filepath.Glob(n.PIDFile); present != nil {
		t.Error("the pid file is still there: nginx did not end in order")
	}
}

// A Debian is made once, for the daemons of other users in it too, whatever the umask of whoever came first.
func TestADebianIsOpenToItsUsers(t *testing.T) {
	needRoot(t)
	bin := t.TempDir()
	if err := os.WriteFile(bin+"/debootstrap", []byte("#!/bin/sh\nmkdir \"$4/etc\"; chmod 755 \"$4/etc\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	defer syscall.Umask(syscall.Umask(0o077))
	dir, err := base.Debian(t.Context(), "bookworm", "none")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{"": 0o755, "/etc/hosts": 0o644} {
		info, err := os.Stat(dir + path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s%s has mode %v", dir, path, info.Mode())
		}
	}
}

func TestBadSuite(t *testing.T) {
	if _, err := base.Get(context.Background(), "buster"); err == nil || !strings.Contains(err.Error(), "bookworm, trixie, sid") {
		t.Error(err)
	}
}
