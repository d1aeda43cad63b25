package dev

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/ctl"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

// start starts a site that ends with the test, with agents that are quick to notice and to be noticed.
func start(t *testing.T, opts Options) *Site {
	t.Helper()
	if opts.HeartbeatTTL == 0 {
		opts.HeartbeatInterval, opts.HeartbeatTTL = 200*time.Millisecond, 2*time.Second
	}
	opts.Dir = serverstest.Dir(t)
	s, err := NewSite(opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(s.LogFile())
			t.Logf("the site's log:\n%s", text)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// get asks the site n times and counts who answered.
func get(t *testing.T, s *Site, n int) map[string]int {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	by := map[string]int{}
	for range n {
		resp, err := client.Get(s.URL())
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("answer %s", resp.Status)
		}
		by[resp.Header.Get("X-Node")]++
	}
	return by
}

func TestSiteLeavesNothingBehind(t *testing.T) {
	for _, server := range []bool{false, true} {
		t.Run(fmt.Sprintf("redis-server=%v", server), func(t *testing.T) {
			t.Setenv("TMPDIR", serverstest.Dir(t))
			s, err := NewSite(Options{RedisServer: server})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			if by := get(t, s, 30); by["web1"] == 0 || by["web2"] == 0 || by["web3"] == 0 {
				t.Errorf("not all nodes answer: %v", by)
			}
			for range 2 { // the second call does nothing
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			for _, addr := range append(s.Nginx().Listen, s.redisAddr, s.Nodes()[0].Addr.String()) {
				if c, err := net.Dial("tcp", addr); err == nil {
					c.Close()
					t.Errorf("%s still takes connections", addr)
				}
			}
			if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestFreezeMovesTraffic(t *testing.T) {
	s := start(t, Options{HeartbeatInterval: 200 * time.Millisecond, HeartbeatTTL: time.Minute}) // nobody is to die
	bbctl := func(args ...string) {
		t.Helper()
		var out bytes.Buffer
		if code := ctl.Main(t.Context(), append(args, "--redis-url", s.RedisURL()), nil, &out, &out); code != cli.Done {
			t.Fatalf("bbctl %v: exit code %d\n%s", args, code, &out)
		}
	}
	bbctl("freeze", "web2", "--wait")
	if by := get(t, s, 60); by["web2"] > 0 || by["web1"] == 0 || by["web3"] == 0 {
		t.Errorf("with web2 frozen: %v", by)
	}
	bbctl("unfreeze", "web2", "--wait")
	if by := get(t, s, 60); by["web2"] == 0 {
		t.Errorf("with web2 back: %v", by)
	}
}

func TestKilledNodeIsTakenOutAndComesBack(t *testing.T) {
	s := start(t, Options{})
	get(t, s, 30)
	before := s.Node("web3").Served()
	if err := s.KillNode("web3"); err != nil {
		t.Fatal(err)
	}
	// From now on, and long before anybody has noticed.
	if by := get(t, s, 60); by["web3"] > 0 {
		t.Errorf("a killed node answers: %v", by)
	}
	out := func(s *Site) error {
		conf, err := os.ReadFile(s.Nginx().Prefix + "/conf.d/upstream.conf")
		if err != nil {
			return err
		}
		if strings.Contains(string(conf), s.Node("web3").Addr.String()) {
			return errors.New("web3 is still in Nginx's configuration")
		}
		return s.proven(t)
	}
	serverstest.Eventually(t, 2*time.Minute, func() error { return out(s) })
	n, err := s.Pool().Node(t.Context(), "web3")
	if err != nil || n.State() != pool.Dead {
		t.Errorf("the pool says %v of it, %v", n.State(), err)
	}
	if err := s.KillNode("web3"); err == nil {
		t.Error("a dead node was killed")
	}
	if s.Node("web3").Up() {
		t.Error("it is up")
	}

	if err := s.StartNode(t.Context(), "web3"); err != nil {
		t.Fatal(err)
	}
	serverstest.Eventually(t, 2*time.Minute, func() error {
		if get(t, s, 3)["web3"] == 0 {
			return errors.New("it gets no requests")
		}
		return nil
	})
	if got := s.Node("web3").Served(); got <= before {
		t.Errorf("%d requests served over both lives, %d of them before", got, before)
	}
	if err := s.StartNode(t.Context(), "web3"); err == nil {
		t.Error("a node that runs was started")
	}
	for _, err := range []error{s.KillNode("web9"), s.StartNode(t.Context(), "web9")} {
		if err == nil || !strings.Contains(err.Error(), "web9") {
			t.Errorf("of a node that does not exist: %v", err)
		}
	}
}

// proven returns nil once Nginx serves what lbd wants.
func (s *Site) proven(t *testing.T) error {
	st, err := s.LBStatus(t.Context())
	if err == nil && st.Running != st.Wanted {
		err = fmt.Errorf("generation %d is served, %d wanted", st.Running, st.Wanted)
	}
	return err
}

func TestStartThatFailsLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", serverstest.Dir(t))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	for flag, opts := range map[string]Options{
		"--redis-port":  {RedisPort: port},
		"--http-port":   {HTTPPort: port},
		"--status-port": {StatusPort: port},
	} {
		s, err := NewSite(opts)
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("%s %d: another program listens there", flag, port)
		if err := s.Start(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
