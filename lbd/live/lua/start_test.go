package lua_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/lbd/live"
	"github.com/bazbeans/bazbeans/lbd/live/lua"
	"github.com/bazbeans/bazbeans/nginx-test/base"
)

// test is `nginx -t` of the site's configuration.
func (s *site) test() (string, error) {
	cmd := exec.CommandContext(s.t.Context(), s.root.Nginx(), "-t", "-p", s.nginx.Prefix, "-c", s.nginx.Conf, "-e", "stderr")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestNothingKeepsNginxFromStarting: with a socket that a killed Nginx left, or its folder gone.
func TestNothingKeepsNginxFromStarting(t *testing.T) {
	each(t, func(t *testing.T, suite string) {
		s := newSite(t, peersOf(newNodes(t, 2)), siteOptions{suite: suite})
		s.put(s.peers)
		if err := s.nginx.Kill(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(s.socket); err != nil {
			t.Fatalf("a killed Nginx leaves its socket: %v", err)
		}
		if out, err := s.test(); err != nil {
			t.Errorf("nginx -t with a stale socket: %v\n%s", err, out)
		}
		if err := s.nginx.Restart(t.Context()); err != nil {
			t.Fatalf("with a stale socket: %v", err)
		}
		s.shares("/", 4)
		s.put(s.peers)

		if err := s.nginx.Stop(); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Dir(s.socket)); err != nil {
			t.Fatal(err)
		}
		if err := s.nginx.Restart(t.Context()); err != nil {
			t.Fatalf("without the socket's folder: %v", err)
		}
		if info, err := os.Stat(filepath.Dir(s.socket)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("the folder made again: %v %v, want 0700", info, err)
		}
		s.put(s.peers)
		s.shares("/", 4)
		s.idle()
	})
}

// TestReloadKeepsWhatIsThere: the peers of the last message, the socket, also under the name that lbd moves it to.
func TestReloadKeepsWhatIsThere(t *testing.T) {
	each(t, func(t *testing.T, suite string) {
		nodes := newNodes(t, 3)
		s := newSite(t, peersOf(nodes), siteOptions{suite: suite})
		two := peersOf(nodes)
		two[1].Gone = true
		s.put(two)
		check := func(when string) {
			t.Helper()
			if got := s.shares("/", 12); got["n1"] != 0 {
				t.Errorf("%s: %v", when, got)
			}
			s.put(two)
			if state := s.state(); state.Generation != s.gen {
				t.Errorf("%s: generation %d, want %d", when, state.Generation, s.gen)
			}
		}
		s.reload()
		check("after a reload")
		if out, err := s.test(); err != nil {
			t.Errorf("nginx -t beside the running one: %v\n%s", err, out)
		}
		check("after nginx -t")

		// A bound socket goes on under another name, and its path is free for the next start.
		aside := filepath.Join(filepath.Dir(s.socket), "live.sock")
		if err := os.Rename(s.socket, aside); err != nil {
			t.Fatal(err)
		}
		s.client = lua.NewClient(aside, s.socket)
		check("after the socket was moved")
		if out, err := s.test(); err != nil {
			t.Errorf("nginx -t after the socket was moved: %v\n%s", err, out)
		}
		check("after nginx -t beside a moved socket")
		for range 2 {
			s.reload()
			check("after a reload with a moved socket")
		}
		if err := s.nginx.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := s.nginx.Restart(t.Context()); err != nil {
			t.Fatalf("after a kill with a moved socket: %v", err)
		}
		if got := s.shares("/", 12); got["n1"] == 0 {
			t.Errorf("after a restart the peers are not those of the seed: %v", got)
		}
		s.put(two)
		check("after a restart") // the dead socket aside does not answer, the new one does
		if log := s.log(); strings.Contains(log, "[emerg]") || strings.Contains(log, "[alert]") {
			t.Errorf("the log has:\n%s", log)
		}
	})
}

// TestAnUpgradeOfTheBinary: the new one inherits the socket, and must not remove it.
func TestAnUpgradeOfTheBinary(t *testing.T) {
	s := newSite(t, peersOf(newNodes(t, 2)), siteOptions{})
	if err := s.nginx.Stop(); err != nil { // a child in the foreground takes no upgrade: it has to be a daemon
		t.Fatal(err)
	}
	t.Cleanup(func() { serverstest.EndDaemons(t, s.nginx.Prefix, "nginx.pid.oldbin", "nginx.pid") })
	out, err := exec.CommandContext(t.Context(), s.root.Nginx(), "-p", s.nginx.Prefix, "-c", s.nginx.Conf).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	pidIn := func(path string) (pid int) {
		text, _ := os.ReadFile(path)
		fmt.Sscan(string(text), &pid)
		return pid
	}
	old := 0
	serverstest.Eventually(t, soon, func() error { // a daemon writes it after its parent has ended
		if old = pidIn(s.nginx.PIDFile); old == 0 {
			return errors.New("no pid file yet")
		}
		return nil
	})
	s.put(s.peers)
	if err := syscall.Kill(old, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	fresh := 0
	serverstest.Eventually(t, soon, func() error {
		if fresh = pidIn(s.nginx.PIDFile); fresh == 0 || fresh == old || pidIn(s.nginx.PIDFile+".oldbin") != old {
			return fmt.Errorf("processes %d and %d\n%s", old, fresh, s.log())
		}
		return nil
	})
	if err := syscall.Kill(old, syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	serverstest.Eventually(t, soon, func() error {
		if syscall.Kill(old, 0) == nil {
			return fmt.Errorf("the old master %d goes on", old)
		}
		return nil
	})
	s.put(s.peers)
	s.shares("/", 4)
}

// TestWithoutInit: an operator has an init_by_lua of his own; all else is the same, but for a socket that a killed Nginx has
// left, which he has to remove.
func TestWithoutInit(t *testing.T) {
	s := newSite(t, peersOf(newNodes(t, 2)), siteOptions{noInit: true, http: "init_by_lua_block { operators = 1 } init_worker_by_lua_block { operators = 2 } lua_package_path '/nonexistent/?.lua;;';"})
	s.put(s.peers)
	s.shares("/", 4)
	s.idle()
	if err := s.nginx.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.nginx.Restart(t.Context()); err == nil || !strings.Contains(err.Error(), "Address already in use") {
		t.Errorf("with a stale socket: %v", err)
	}
	if err := os.Remove(s.socket); err != nil {
		t.Fatal(err)
	}
	if err := s.nginx.Restart(t.Context()); err != nil {
		t.Errorf("without it: %v", err)
	}
}

// TestALiveSocketIsNotTaken: a second Nginx with the same path fails, and the first goes on.
func TestALiveSocketIsNotTaken(t *testing.T) {
	s := newSite(t, peersOf(newNodes(t, 2)), siteOptions{})
	dir := serverstest.Dir(t)
	conf := strings.Replace(s.conf(siteOptions{}), "listen "+s.addr, "listen 127.0.0.1:"+fmt.Sprint(serverstest.Ports(t, 1)[0]), 1)
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), s.root.Nginx(), "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", "stderr").CombinedOutput()
	if err == nil || !strings.Contains(string(out)+s.log(), "Address already in use") {
		t.Errorf("a second Nginx: %v\n%s", err, out)
	}
	if c, err := net.Dial("unix", s.socket); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	s.put(s.peers)
}

func TestCheckSocket(t *testing.T) {
	for _, path := range []string{"", "a/b", "/a/", "/" + strings.Repeat("a", 107), "/a b", "/a;b", "/a\nb", `/a"b`, "/a$b", "/a{b", "/a#b"} {
		if lua.CheckSocket(path) == nil {
			t.Errorf("%q is taken", path)
		}
	}
	if err := lua.CheckSocket("/var/lib/lbd/live/control.sock"); err != nil {
		t.Error(err)
	}
}

func (s *site) log() string {
	text, _ := os.ReadFile(s.nginx.ErrorLog)
	return string(text)
}

// TestTheWayBack: a reload to a configuration without any of this goes well. Nginx removes the socket's path then, and
// writes an [emerg] line when it isn't there; that is all that a moved socket costs.
func TestTheWayBack(t *testing.T) {
	each(t, func(t *testing.T, suite string) {
		nodes := newNodes(t, 2)
		s := newSite(t, peersOf(nodes), siteOptions{suite: suite})
		s.put(s.peers)
		if err := os.Rename(s.socket, filepath.Join(filepath.Dir(s.socket), "live.sock")); err != nil {
			t.Fatal(err)
		}
		plain := fmt.Sprintf("user root;\npid nginx.pid;\nerror_log error.log notice;\nevents {}\nhttp { access_log off; upstream app { zone app 4m;\n%s }\n"+
			"server { listen %s reuseport; location / { proxy_pass http://app; } } }\n", serverLines(s.peers), s.addr)
		if err := os.WriteFile(s.nginx.Conf, []byte(plain), 0o600); err != nil {
			t.Fatal(err)
		}
		s.reload()
		s.shares("/", 8)
		for line := range strings.Lines(s.log()) {
			gone := "unlink() " + s.socket + " failed"
			if (strings.Contains(line, "[emerg]") || strings.Contains(line, "[alert]")) && !strings.Contains(line, gone) {
				t.Errorf("the log has: %s", line)
			}
		}
	})
}

// TestNginxReadsTheWholeSeed: wherever in its buffers the strings of a large fleet come to stand.
func TestNginxReadsTheWholeSeed(t *testing.T) {
	each(t, func(t *testing.T, suite string) {
		root, err := base.Get(t.Context(), suite)
		if err != nil {
			t.Fatal(err)
		}
		var peers []live.Peer
		for i := range 2000 {
			peers = append(peers, live.Peer{Slot: i, ID: fmt.Sprintf("web-%d", i), Addr: addrPort(fmt.Sprintf("10.0.%d.%d:8080", i/256, i%256)), Weight: 1})
		}
		upstream := "upstream app {\n" + serverLines(peers) + lua.Balancer("app", "round_robin", string(encode(0, peers))) + "}\n"
		dir := t.TempDir()
		var conf strings.Builder
		for _, m := range root.Lua() {
			fmt.Fprintf(&conf, "load_module %s;\n", m)
		}
		conf.WriteString("pid p; error_log stderr; events {}\nhttp { include app.conf; }\n")
		write := func(name, text string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		write("nginx.conf", conf.String())
		for pad := 0; pad < 4096; pad += 128 {
			text := "#" + strings.Repeat("x", pad) + "\n" + upstream
			write("app.conf", text)
			out, err := exec.CommandContext(t.Context(), root.Nginx(), "-T", "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", "stderr").CombinedOutput()
			if err != nil || !bytes.Contains(out, []byte(text)) {
				t.Fatalf("%d bytes before it: it reads %d of %d bytes (%v): %.300s", pad, len(out), len(text), err, out)
			}
		}
	})
}
