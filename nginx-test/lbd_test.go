package nginxtest

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// reloads is how often Nginx was told to read its configuration again.
func (b *balancer) reloads() int {
	b.s.t.Helper()
	return strings.Count(read(b.s.t, b.nginx.ErrorLog), "signal 1 (SIGHUP) received")
}

// lbd's end never changes traffic, nor does its start: what Nginx serves is what is wanted, so nothing is written and
// nothing reloaded. What changed meanwhile is served as soon as lbd is back.
func TestRestartOfLbd(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2", "web3"}})
	traffic := s.traffic()
	for name, end := range map[string]func(){"SIGTERM": func() { s.lbd.stop() }, "kill -9": func() { s.lbd.kill() }} {
		wantUntouched, reloads, generation := s.fileAsItIs(), s.reloads(), s.mustStatus().Running
		end()
		traffic.wantReaches("web1", "web2", "web3")
		s.start()
		s.want("/readyz", 200)
		s.wantServers("web1", "web2", "web3")
		wantUntouched()
		if now := s.mustStatus().Running; s.reloads() != reloads || now != generation {
			t.Errorf("%s: %d reloads, generation %d; before the restart %d and %d", name, s.reloads(), now, reloads, generation)
		}
	}

	s.lbd.kill()
	s.bbctl("freeze", "web1")
	traffic.wantReaches("web1")
	s.start()
	s.wantServers("web2", "web3")
	traffic.wantNoHarm()
}

// lbd starts while Redis is away: the file that is there stays, and is right again when Redis is back.
func TestStartWithoutRedis(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2"}})
	traffic := s.traffic()
	s.lbd.stop()
	wantUntouched, reloads := s.fileAsItIs(), s.reloads()
	s.killRedis()
	s.start()
	s.want("/readyz", 503, "redis")
	s.want("/healthz", 200)
	traffic.wantReaches("web1", "web2")
	wantUntouched()
	if s.reloads() != reloads {
		t.Error("there was a reload")
	}
	s.node("web3").agent.wantLog("redis") // an agent, too, says so and waits
	s.restartRedis()
	s.wantServers("web1", "web2", "web3")
	traffic.wantNoHarm()
}

// Two upstreams in two files from one config, each with some of the nodes: one change of both is one reload.
func TestTwoUpstreams(t *testing.T) {
	t.Parallel()
	second := servers.Loopback(serverstest.Ports(t, 1)[0])
	none := "upstream %s { server 127.0.0.1:9 down; }\n"
	s := newSite(t, options{
		files: map[string]string{
			"conf.d/upstream.conf": fmt.Sprintf(none, "app_backend"),
			"conf.d/admin.conf":    fmt.Sprintf(none, "admin_backend"),
			"conf.d/server.conf":   "server { listen " + second + "; location / { proxy_pass http://admin_backend; } }\n",
		},
		upstreams: `upstreams:
  - name: app_backend
    output: CONF.D/upstream.conf
    select: {data_center: [dc1, dc2]}
  - name: admin_backend
    output: CONF.D/admin.conf
    balance: round_robin
    select: {labels: {role: admin}}
`})
	s.node("web1", "--data-center", "dc1")
	s.node("web2", "--data-center", "dc2", "--label", "role=admin", "--label", "rack=r7")
	s.node("web3", "--data-center", "dc3", "--label", "role=admin")
	s.node("web4", "--data-center", "dc3", "--label", "role=other")

	admin := filepath.Join(filepath.Dir(s.output), "admin.conf")
	both := func(wantApp, wantAdmin []string) {
		t.Helper()
		serverstest.Eventually(t, soon, func() error {
			gotApp, gotAdmin := s.servers(s.output), s.servers(admin)
			_, err := s.settled(s.output, admin)
			if err == nil && (!slices.Equal(gotApp, wantApp) || !slices.Equal(gotAdmin, wantAdmin)) {
				err = fmt.Errorf("servers are %v and %v, want %v and %v", gotApp, gotAdmin, wantApp, wantAdmin)
			}
			return err
		})
	}
	both([]string{"web1", "web2"}, []string{"web2", "web3"})
	s.wantAck()
	reloads := s.reloads()
	s.bbctl("freeze", "web2", "--wait")
	both([]string{"web1"}, []string{"web3"})
	if n := s.reloads() - reloads; n != 1 {
		t.Errorf("a change of two files came to %d reloads", n)
	}
	s.wantAnswersFrom("web1")
	if code, _, node, err := get(t.Context(), "http://"+second); err != nil || code != 200 || node != "web3" {
		t.Errorf("the second upstream: %d from %q (%v), want web3", code, node, err)
	}
}

// While changes keep coming there is one reload in min_interval, none is lost, and the last state wins.
func TestBurstOfChanges(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2", "web3", "web4"}})
	traffic := s.traffic()
	reloads, generation, began := s.reloads(), s.mustStatus().Running, time.Now()
	for range 10 {
		s.bbctl("freeze", "web1", "web2")
		s.bbctl("unfreeze", "web1")
		s.bbctl("freeze", "web3")
		s.bbctl("unfreeze", "web2", "web3")
	}
	s.bbctl("freeze", "web1", "web4")
	s.wantServers("web2", "web3")
	took := time.Since(began)
	most := 2 + int(math.Ceil(took.Seconds())) // min_interval is one second; the first is at once
	n, generations := s.reloads()-reloads, int(s.mustStatus().Running-generation)
	t.Logf("41 changes in %s: %d reloads, %d generations", took, n, generations)
	if n > most || generations > most || n == 0 {
		t.Errorf("%d reloads and %d generations in %s, want at most %d", n, generations, took, most)
	}
	traffic.wantNoHarm()
}

// SIGHUP reads the config again. One that cannot be used changes nothing and is reported with file, line and key.
func TestSIGHUP(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2"}})
	traffic := s.traffic()
	good := read(t, s.conf)
	wantUntouched := s.fileAsItIs()
	broken := strings.Replace(good, "state_dir:", "state_dri:", 1)
	s.configure(broken)
	s.lbd.signal(syscall.SIGHUP)
	s.lbd.wantLog("SIGHUP", s.conf+":"+strconv.Itoa(1+strings.Count(broken[:strings.Index(broken, "state_dri")], "\n"))+": state_dri", "unknown key", "state_dir")
	s.wantLooks(1)
	wantUntouched()
	s.bbctl("freeze", "web1", "--wait") // and it works on
	s.wantServers("web2")

	s.configure(strings.Replace(good, "name: app_backend,", "name: app_backend, keepalive: 7, server: {max_fails: 3},", 1))
	s.lbd.signal(syscall.SIGHUP)
	serverstest.Eventually(t, soon, func() error {
		if text := read(t, s.output); !containsAll(text, "keepalive 7;", "max_fails=3") {
			return fmt.Errorf("the file is still:\n%s", text)
		}
		return nil
	})
	s.wantServers("web2")
	s.bbctl("unfreeze", "web1", "--wait")
	s.wantServers("web1", "web2")
	traffic.wantNoHarm()
}

// The operator's own command reloads. When it fails, what was there before goes on.
func TestReloadCommand(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2"}})
	traffic := s.traffic()
	good := read(t, s.conf)
	reloadBy := func(words string) { // which lbd knows when it returns: a change that came first would be reloaded as before
		t.Helper()
		const read = "config and templates were read again"
		before := strings.Count(s.lbd.log.String(), read)
		s.configure(strings.Replace(good, "nginx: {", "nginx: {reload: "+words+", ", 1))
		s.lbd.signal(syscall.SIGHUP)
		serverstest.Eventually(t, soon, func() error {
			if strings.Count(s.lbd.log.String(), read) == before {
				return fmt.Errorf("lbd has not read its config again")
			}
			return nil
		})
	}
	reloadBy(fmt.Sprintf("[nginx, -p, %q, -c, %q, -s, reload]", s.nginx.Prefix, s.nginx.Conf))
	s.bbctl("freeze", "web1", "--wait")
	s.wantServers("web2")

	reloadBy("[sh, -c, 'echo no such unit >&2; exit 5']")
	s.want("/readyz", 200)
	s.bbctl("unfreeze", "web1")
	s.want("/readyz", 503, "reload", "no such unit")
	traffic.wantReaches("web2")
	s.configure(good)
	s.lbd.signal(syscall.SIGHUP)
	s.wantServers("web1", "web2")
	traffic.wantNoHarm()
}

// /status, /metrics, /healthz and /readyz say what the contract promises.
func TestHTTP(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1"}})
	s.node("web2", "--data-center", "dc2", "--weight", "7", "--label", "rack=r7")
	s.wantServers("web1", "web2")
	s.bbctl("freeze", "web1", "--wait")
	s.want("/healthz", 200, "ok")
	s.want("/readyz", 200, "ok")
	for _, key := range []string{"id", "rev", "wanted", "written", "running", "nodes", "quarantined", "guard", "last_apply", "redis",
		"address", "port", "weight", "data_center", "labels", "resolver", "state", "at", "step", "duration_ms", "error", "connected", "last_look"} {
		s.want("/status", 200, strconv.Quote(key)+":")
	}
	st := s.mustStatus()
	if st.ID != "lb1" || st.Rev == 0 || st.Running != st.Wanted || !st.Redis.Connected || len(st.Quarantined) != 0 ||
		st.LastApply.Step != "verify" || st.LastApply.DurationMS <= 0 || st.LastApply.Error != "" || st.LastApply.At.IsZero() {
		t.Errorf("/status: %+v", st)
	}
	if st.state("web1") != "frozen" || st.state("web2") != "active" {
		t.Errorf("/status: nodes %+v", st.Nodes)
	}
	n := st.Nodes[1]
	if n.Address != "127.0.0.1" || n.Address+":"+strconv.Itoa(n.Port) != s.nodes["web2"].app.Addr() || n.Weight != 7 ||
		n.DataCenter != "dc2" || n.Labels["rack"] != "r7" || n.Resolver != "redis" {
		t.Errorf("/status: node %+v", n)
	}
	for _, step := range []string{"snapshot", "resolve", "test", "install", "reload", "verify", "ack"} {
		s.want("/metrics", 200, `lbd_step_seconds_count{step="`+step+`"}`)
	}
	s.want("/metrics", 200, "lbd_last_apply_successful 1\n", "lbd_nginx_running 1\n", fmt.Sprintf("lbd_generation{what=\"running\"} %d\n", st.Running),
		`lbd_nodes{state="active"} 1`, `lbd_nodes{state="frozen"} 1`)
}
