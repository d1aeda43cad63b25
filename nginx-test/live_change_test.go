package nginxtest

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// An upstream that lbd's configuration no longer names keeps the servers it had, for Nginx still sends to it: what is
// pushed for the others takes nothing from it. Once its file is gone, and what names it, no drain is done before Nginx has
// let go of it.
func TestLiveUpstreamLeavesTheConfig(t *testing.T) {
	for _, tc := range []struct{ engine, debian string }{{"lua", ""}, {"resolve", "sid"}, {"", ""}} {
		t.Run(tc.engine, func(t *testing.T) {
			t.Parallel()
			upstreamLeavesTheConfig(t, tc.engine, tc.debian)
		})
	}
}

func upstreamLeavesTheConfig(t *testing.T, engine, debian string) {
	other := servers.Loopback(serverstest.Ports(t, 1)[0])
	s := newSite(t, options{nodes: []string{"web1", "web2"}, engine: engine, debian: debian,
		upstreams: "upstreams:\n  - {name: app_backend, output: CONF.D/upstream.conf}\n  - {name: other, output: CONF.D/other.conf}\n",
		files: map[string]string{
			"conf.d/upstream.conf": "upstream app_backend { server 127.0.0.1:9 down; }\n",
			"conf.d/other.conf":    "upstream other { server 127.0.0.1:9 down; }\n",
			"conf.d/site.conf":     "server { listen " + other + "; location / { proxy_pass http://other; } }\n",
		}})
	s.wantServers("web1", "web2")
	s.balancer.wantAck()
	get := func() error {
		resp, err := http.Get("http://" + other + "/")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			return fmt.Errorf("%s", resp.Status)
		}
		return nil
	}
	serverstest.Eventually(t, soon, get)

	s.lbd.stop()
	before, _, _ := strings.Cut(read(t, s.balancer.conf), "  - {name: other")
	s.configure(before)
	s.start()
	s.want("/readyz", 503, "upstream other is not in the config any more")
	for _, change := range []struct {
		word   string
		serves []string
	}{{"freeze", []string{"web2"}}, {"unfreeze", []string{"web1", "web2"}}} {
		s.bbctl(change.word, "web1") // without --wait: no drain is done while Nginx may still send to web1
		s.wantServers(change.serves...)
		for range 50 {
			if err := get(); err != nil {
				t.Fatalf("after %s: %v", change.word, err)
			}
		}
	}
	remove := func(name string) {
		t.Helper()
		if err := os.Remove(filepath.Join(filepath.Dir(s.output), name)); err != nil {
			t.Fatal(err)
		}
	}
	if engine != "" { // else nothing goes in while nginx -t fails
		s.node("web3") // the former upstream never had it
		s.wantAckOf("web3")
		remove("other.conf") // too early: site.conf names the upstream
		s.want("/readyz", 503, "host not found in upstream")
		s.bbctl("freeze", "web3", "--wait")
		remove("site.conf")
	} else {
		remove("site.conf")
		remove("other.conf")
	}
	s.bbctl("freeze", "web1", "--wait", "--deadline", "2m")
	if err := get(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("web1 counts as drained, and nginx goes on with the former upstream: %v", err)
	}
	s.want("/readyz", 200)
	reloads := s.reloads()
	s.lbd.stop()
	s.start() // it has nothing to let go of
	s.want("/readyz", 200)
	s.wantAckOf("web2")
	if now := s.reloads(); now != reloads {
		t.Errorf("%d reloads by the next lbd", now-reloads)
	}
}

// A drain that waits for a request goes on to wait when lbd has to give the live engine up meanwhile.
func TestLiveGivenUpDuringADrain(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{engine: "lua"})
	web1, slow := s.slowOn("web1")
	s.node("web2")
	s.wantAckOf("web2")
	frozen := s.freezing("web1")
	frozen.wantLog("1 request under way on web1")
	s.wantAnswersFrom("web2")
	if err := os.Remove(filepath.Join(s.balancer.dir, "state", "live", "live.sock")); err != nil {
		t.Fatal(err)
	}
	s.node("web3") // a change that can't go in live
	s.want("/status", 200, `"name": "reload"`)
	s.wantAckOf("web3")
	wantWaiting(t, frozen, 2*time.Second)
	close(web1.letGo)
	frozen.wantExit(0)
	if got := <-slow; got != "200 web1" {
		t.Errorf("the slow request: %s", got)
	}
}

// An upstream is added and another one's balance method changes while a node is frozen: that is a reload, the peers of
// both are right before and after it, and changes of peers are live again.
func TestLiveUpstreamIsAdded(t *testing.T) {
	for _, tc := range []struct{ engine, debian string }{{"lua", ""}, {"resolve", "sid"}} {
		t.Run(tc.engine, func(t *testing.T) {
			t.Parallel()
			other := servers.Loopback(serverstest.Ports(t, 1)[0])
			s := newSite(t, options{nodes: []string{"web1", "web2"}, engine: tc.engine, debian: tc.debian, files: map[string]string{
				"conf.d/upstream.conf": "upstream app_backend { server 127.0.0.1:9 down; }\n",
				"conf.d/other.conf":    "upstream other { server 127.0.0.1:9 down; }\n",
				"conf.d/site.conf":     "server { listen " + other + "; location / { proxy_pass http://other; } }\n",
			}})
			traffic := s.traffic()
			s.bbctl("freeze", "web1", "--wait")
			frozen := time.Now()
			folder := filepath.Dir(s.output)
			s.configure(strings.Replace(read(t, s.balancer.conf), "upstreams: [{name: app_backend, output: "+s.output+"}]",
				"upstreams: [{name: app_backend, output: "+s.output+", balance: round_robin}, {name: other, output: "+folder+"/other.conf}]", 1))
			s.lbd.signal(syscall.SIGHUP)
			from(t, other, "web2")
			s.want("/readyz", 200)
			s.nodes["web1"].wantNoMore(frozen)
			reloads := s.reloads()
			s.bbctl("unfreeze", "web1", "--wait")
			from(t, other, "web1", "web2")
			traffic.wantReaches("web1", "web2")
			s.bbctl("freeze", "web2", "--wait")
			from(t, other, "web1")
			s.wantAnswersFrom("web1")
			if now := s.reloads(); now != reloads {
				t.Errorf("%d reloads for changes of the set", now-reloads)
			}
			traffic.wantNoHarm()
		})
	}
}

// from waits until the nodes, and no other, answer at addr.
func from(t *testing.T, addr string, want ...string) {
	t.Helper()
	serverstest.Eventually(t, soon, func() error {
		got := map[string]bool{}
		for range 20 {
			code, _, node, err := get(t.Context(), "http://"+addr)
			if err != nil || code != 200 {
				return fmt.Errorf("%d %w", code, err)
			}
			got[node] = true
		}
		if nodes := slices.Sorted(maps.Keys(got)); !slices.Equal(nodes, want) {
			return fmt.Errorf("%v answer, want %v", nodes, want)
		}
		return nil
	})
}
