package nginxtest

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/nginx-test/base"
)

// nginx is how the site's Nginx is to be started.
func (o options) nginx(t testing.TB, dir string) servers.NginxOptions {
	t.Helper()
	n := servers.NginxOptions{Dir: dir, Files: o.files}
	if o.debian != "" {
		root, err := base.Get(t.Context(), o.debian)
		if err != nil {
			t.Fatal(err)
		}
		n.Binary = root.Nginx()
	}
	if o.engine == "lua" {
		for _, name := range []string{"ndk_http_module.so", "ngx_http_lua_module.so"} {
			n.Modules = append(n.Modules, "/usr/lib/nginx/modules/"+name)
		}
	}
	return n
}

// live is what lbd.yaml says of the engine.
func (o options) live(t testing.TB) string {
	if o.engine == "" {
		return ""
	}
	return fmt.Sprintf(", apply: live, live: %s, names: %q", o.engine, servers.Loopback(serverstest.Ports(t, 1)[0]))
}

// An operator's day with a live engine: nodes go and come, and Nginx is never reloaded for it.
func TestLiveMainJob(t *testing.T) {
	for _, tc := range []struct{ engine, debian string }{{"lua", ""}, {"lua", "trixie"}, {"lua", "sid"}, {"resolve", "sid"}} {
		t.Run(strings.TrimSpace(tc.engine+" "+tc.debian), func(t *testing.T) {
			t.Parallel()
			liveMainJob(newSite(t, options{nodes: []string{"web1", "web2"}, engine: tc.engine, debian: tc.debian}))
		})
	}
}

func liveMainJob(s *site) {
	t := s.t
	s.node("web3", mortal...)
	traffic := s.traffic()
	traffic.wantReaches("web1", "web2", "web3")
	reloads := s.reloads()

	s.bbctl("freeze", "web1", "--wait")
	frozen := time.Now()
	traffic.wantReaches("web2", "web3")
	s.nodes["web1"].wantNoMore(frozen)
	s.wantServers("web2", "web3") // the file follows
	s.bbctl("unfreeze", "web1", "--wait")
	traffic.wantReaches("web1", "web2", "web3")

	s.nodes["web3"].agent.kill()
	s.wantServers("web1", "web2")
	s.node("web4")
	s.wantServers("web1", "web2", "web4")
	traffic.wantReaches("web1", "web2", "web4")
	if now := s.reloads(); now != reloads {
		t.Errorf("%d reloads for changes of the set", now-reloads)
	}

	// An operator's reload, a new lbd, and an Nginx that starts while there is no lbd: the set stays.
	s.bbctl("freeze", "web2", "--wait")
	frozen = time.Now()
	s.lbd.kill()
	if err := reload(s.balancer.nginx.Master()); err != nil {
		t.Fatal(err)
	}
	traffic.wantReaches("web1", "web4")
	s.start()
	s.want("/readyz", 200)
	traffic.wantReaches("web1", "web4")
	s.nodes["web2"].wantNoMore(frozen)
	traffic.wantNoHarm()
}

// reload is an operator's own.
func reload(master int) error { return syscall.Kill(master, syscall.SIGHUP) }
