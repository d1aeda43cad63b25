package nginxtest

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// An upstream that lbd's configuration no longer names keeps the servers it had, for Nginx still sends to it: what is
// pushed for the others takes nothing from it.
func TestLiveUpstreamLeavesTheConfig(t *testing.T) {
	t.Parallel()
	other := servers.Loopback(serverstest.Ports(t, 1)[0])
	s := newSite(t, options{nodes: []string{"web1", "web2"}, engine: "lua",
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
}

// A drain that waits for a request goes on to wait when lbd has to give the live engine up meanwhile.
func TestLiveGivenUpDuringADrain(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{engine: "lua"})
	web1 := s.holder("web1")
	s.wantAckOf("web1")
	slow := s.get()
	<-web1.began
	s.node("web2")
	s.wantAckOf("web2")
	frozen := make(chan result, 1)
	go func() {
		frozen <- run(t, s.dir, "bbctl", "--redis-url", s.redis.URL(), "freeze", "web1", "--wait", "--deadline", "60s")
	}()
	s.wantAnswersFrom("web2")
	if err := os.Remove(filepath.Join(s.balancer.dir, "state", "live", "live.sock")); err != nil {
		t.Fatal(err)
	}
	s.node("web3") // a change that can't go in live
	s.want("/status", 200, `"name": "reload"`)
	s.wantAckOf("web3")
	select {
	case r := <-frozen:
		t.Fatalf("freeze --wait has returned with a request under way: %v", r)
	case <-time.After(2 * time.Second):
	}
	close(web1.letGo)
	if r := <-frozen; r.code != 0 {
		t.Errorf("freeze --wait: %v", r)
	}
	if got := <-slow; got != "200 web1" {
		t.Errorf("the slow request: %s", got)
	}
}
