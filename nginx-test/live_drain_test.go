package nginxtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// holder is an application whose requests last until they are let go.
type holder struct {
	addr  string
	began chan struct{} // one for each request
	letGo chan struct{}
}

func (s *site) holder(id string) *holder {
	s.t.Helper()
	h := &holder{began: make(chan struct{}, 100), letGo: make(chan struct{})}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	h.addr = ln.Addr().String()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.began <- struct{}{}
		select {
		case <-h.letGo:
		case <-r.Context().Done():
		}
		w.Header().Set("X-Node", id)
		fmt.Fprint(w, id)
	})}
	go server.Serve(ln)
	s.t.Cleanup(func() { server.Close() })
	_, port, err := net.SplitHostPort(h.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	start(s.t, s.dir, "bbagent", "--redis-url", s.redis.URL(), "--node-id", id, "--address", "127.0.0.1", "--node-port", port,
		"--cpu-threshold", "100", "--memory-threshold", "100", "--app-dir", "/", "--state-dir", s.dir)
	return h
}

// get asks the balancer and sends the answer's node, or the error. It waits for the answer as long as that takes, and on a
// connection of its own: what breaks there is not sent again.
func (b *balancer) get() <-chan string { return getFrom(b.nginx.Listen[0]) }

func getFrom(addr string) <-chan string {
	answer := make(chan string, 1)
	go func() {
		resp, err := (&http.Client{Transport: client.Transport}).Get("http://" + addr + "/")
		if err != nil {
			answer <- err.Error()
			return
		}
		resp.Body.Close()
		answer <- fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("X-Node"))
	}()
	return answer
}

// freeze --wait returns when the last request on the node has ended, and says what it waits for; a worker that is killed
// with requests under way holds nobody up.
func TestLiveDrainWaitsForRequests(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{engine: "lua"})
	web1, slow := s.slowOn("web1")
	web2 := s.holder("web2")
	s.wantAckOf("web2")

	frozen := s.freezing("web1")
	frozen.wantLog("1 request under way on web1")
	if out := s.bbctl("lbs", "-o", "json"); !strings.Contains(out, `"web1": 1`) || !strings.Contains(out, `"live": "lua"`) {
		t.Errorf("bbctl lbs does not show the request: %s", out)
	}
	other := s.get()
	<-web2.began // new requests go elsewhere
	wantWaiting(t, frozen, 200*time.Millisecond)
	close(web1.letGo)
	frozen.wantExit(0)
	if got := <-slow; got != "200 web1" {
		t.Errorf("the slow request: %s", got)
	}
	close(web2.letGo)
	if got := <-other; got != "200 web2" {
		t.Errorf("the other request: %s", got)
	}

	// All requests of a killed worker have ended with it.
	web3 := s.holder("web3")
	s.wantAckOf("web3")
	s.bbctl("freeze", "web2", "--wait")
	cut := s.get()
	<-web3.began
	s.killWorkers()
	if got := <-cut; strings.HasPrefix(got, "200") {
		t.Fatalf("the request of a killed worker: %s", got)
	}
	s.bbctl("unfreeze", "web2", "--wait")
	s.bbctl("freeze", "web3", "--wait")
}

// slowOn is an application, the only one, with a request under way on it.
func (s *site) slowOn(id string) (app *holder, answer <-chan string) {
	s.t.Helper()
	app = s.holder(id)
	s.wantAckOf(id)
	answer = s.get()
	<-app.began
	return app, answer
}

// A template may have an upstream of its own beside the live one: what goes by that nobody counts, and the drain waits for the
// workers that had it.
func TestLiveDrainBesideAnotherUpstream(t *testing.T) {
	t.Parallel()
	other := servers.Loopback(serverstest.Ports(t, 1)[0])
	s := newSite(t, options{engine: "lua", files: map[string]string{
		"conf.d/upstream.conf": "upstream app_backend { server 127.0.0.1:9 down; }\nupstream canary { server 127.0.0.1:9 down; }\n",
		"conf.d/other.conf":    "server { listen " + other + "; location / { proxy_pass http://canary; } }\n",
	}})
	s.want("/healthz", 200)
	s.lbd.stop()
	write(t, filepath.Join(s.balancer.dir, "templates", "canary.tmpl"),
		"upstream {{.Name}} {\n zone {{.Name}} {{.ZoneSize}};\n{{range .Servers}}  server {{.Addr}}{{.Params}};\n{{end}}{{with .Live}}{{.}}\n{{end}}}\n"+
			"upstream canary {\n{{range .Servers}}  server {{.Addr}}{{.Params}};\n{{end}}}\n")
	s.configure(strings.Replace(read(t, s.balancer.conf), "{name: app_backend, ", "{name: app_backend, template: canary.tmpl, ", 1))
	s.start()
	web1 := s.holder("web1")
	s.wantAckOf("web1")
	s.want("/status", 200, `"name": "lua"`, `"by_reload": {}`)
	slow := getFrom(other)
	<-web1.began
	s.holder("web2")
	s.wantAckOf("web2")
	frozen := s.freezing("web1")
	frozen.wantLog("old worker")
	wantWaiting(t, frozen, 200*time.Millisecond)
	close(web1.letGo)
	frozen.wantExit(0)
	if got := <-slow; got != "200 web1" {
		t.Errorf("the slow request: %s", got)
	}
}

// freezing freezes a node and waits for its drain, beside the test.
func (s *site) freezing(id string) *daemon {
	s.t.Helper()
	return start(s.t, s.dir, "bbctl", "--redis-url", s.redis.URL(), "freeze", id, "--wait", "--deadline", "5m")
}

// wantWaiting fails the test if a freeze returns within d: there is a request under way.
func wantWaiting(t *testing.T, frozen *daemon, d time.Duration) {
	t.Helper()
	select {
	case <-frozen.ended:
		t.Fatal("freeze --wait has returned with a request under way")
	case <-time.After(d):
	}
}

// wantAckOf waits until lbd has said that it serves a node.
func (s *site) wantAckOf(id string) {
	s.t.Helper()
	serverstest.Eventually(s.t, soon, func() error {
		st, err := s.status()
		if err != nil {
			return err
		}
		if st.state(id) != "active" || st.Running != st.Wanted || st.Wanted == 0 {
			return fmt.Errorf("%s is %q, generation %d runs of %d", id, st.state(id), st.Running, st.Wanted)
		}
		return nil
	})
	s.balancer.wantAck()
}

// killWorkers kills all of Nginx's workers at once; the master starts others.
func (b *balancer) killWorkers() {
	b.s.t.Helper()
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", b.nginx.Master(), b.nginx.Master()))
	if err != nil {
		b.s.t.Fatal(err)
	}
	for _, word := range strings.Fields(string(children)) {
		var pid int
		fmt.Sscan(word, &pid)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) { // an old one may end by itself
			b.s.t.Fatal(err)
		}
	}
}

// Nginx dies and is started while there is no lbd, again and again: what is left of it never keeps it from starting, and
// it serves the newest set.
func TestLiveNginxRestartsWithoutLbd(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2", "web3"}, engine: "lua"})
	s.bbctl("freeze", "web2", "--wait")
	frozen := time.Now()
	s.wantServers("web1", "web3")
	s.lbd.stop()
	for range 3 {
		if err := s.nginx.Kill(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		err := s.nginx.Restart(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if got := <-s.get(); got != "200 web1" && got != "200 web3" {
				t.Fatalf("without lbd: %s", got)
			}
		}
	}
	if err := os.RemoveAll(filepath.Join(s.balancer.dir, "state", "live")); err != nil {
		t.Fatal(err)
	}
	if err := s.nginx.Kill(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if err := s.nginx.Restart(ctx); err != nil {
		t.Fatalf("without the socket's folder: %v", err)
	}
	s.nodes["web2"].wantNoMore(frozen)
	reloads := s.reloads()
	s.start()
	s.want("/readyz", 200)
	s.bbctl("freeze", "web3", "--wait")
	frozen = time.Now()
	s.wantAnswersFrom("web1")
	s.nodes["web3"].wantNoMore(frozen)
	if now := s.reloads(); now != reloads {
		t.Errorf("%d reloads, want none", now-reloads)
	}
}

// The control socket is gone for good: lbd goes back to reloads, and says so; no request suffers.
func TestLiveWithoutTheChannel(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2", "web3"}, engine: "lua"})
	traffic := s.traffic()
	traffic.wantReaches("web1", "web2", "web3")
	if err := os.Remove(filepath.Join(s.balancer.dir, "state", "live", "live.sock")); err != nil {
		t.Fatal(err)
	}
	s.bbctl("freeze", "web1", "--wait")
	frozen := time.Now()
	s.wantServers("web2", "web3")
	s.nodes["web1"].wantNoMore(frozen)
	s.want("/status", 200, `"name": "reload"`, "nginx can't be told of peers")
	s.want("/readyz", 200)
	traffic.wantNoHarm()
}

// Templates and peers change at once: the freeze does not wait for the reload, and neither undoes the other.
func TestLiveAndReload(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2", "web3"}, engine: "lua"})
	traffic := s.traffic()
	reloads := s.reloads()
	s.template("# by hand\n" + plainTemplate)
	s.bbctl("freeze", "web1", "--wait")
	frozen := time.Now()
	s.wantServers("web2", "web3")
	s.wantText("proxy_next_upstream_tries")
	s.nodes["web1"].wantNoMore(frozen)
	if now := s.reloads(); now != reloads+1 {
		t.Errorf("%d reloads for one change of the template", now-reloads)
	}
	// One that can't be live goes on by reloads.
	s.template("upstream {{.Name}} {\n{{range .Servers}}server {{.Addr}}{{.Params}};\n{{end}}}\n")
	s.wantServers("web2", "web3")
	s.want("/status", 200, `"app_backend": "it can't be used live: it has no {{.Live}}"`)
	s.bbctl("unfreeze", "web1", "--wait")
	s.wantServers("web1", "web2", "web3")
	traffic.wantNoHarm()
}

const plainTemplate = `upstream {{.Name}} {
    zone {{.Name}} {{.ZoneSize}};
{{- range .Servers}}
    server {{.Addr}}{{.Params}};
{{- end}}
    {{.Live}}
}
map $host $by_hand { default proxy_next_upstream_tries; }
`

func (s *site) template(text string) {
	s.t.Helper()
	write(s.t, filepath.Join(s.balancer.dir, "templates", "upstream.conf.tmpl"), text)
}

// lbd is told of another config while a drain waits, one that needs a reload: what is under way on the node is known to it all
// the same, and is not taken for another node's.
func TestLiveDrainOverSIGHUP(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{engine: "lua"})
	web1, slow := s.slowOn("web1")
	s.holder("web2")
	s.wantAckOf("web2")
	frozen := s.freezing("web1")
	frozen.wantLog("1 request under way on web1")
	reloads := s.reloads()
	s.configure(strings.Replace(read(t, s.balancer.conf), "name: app_backend,", "name: app_backend, balance: random,", 1))
	s.lbd.signal(syscall.SIGHUP)
	serverstest.Eventually(t, soon, func() error {
		if s.reloads() == reloads {
			return errors.New("no reload yet")
		}
		return nil
	})
	s.want("/readyz", 200)
	serverstest.Eventually(t, soon, func() error { // what is said in Redis follows
		if out := s.bbctl("status", "web1"); !strings.Contains(out, "1 request by lb1") {
			return errors.New(out)
		}
		return nil
	})
	if out := s.bbctl("status", "web2"); !strings.Contains(out, "0 requests by lb1") {
		t.Error(out)
	}
	wantWaiting(t, frozen, 200*time.Millisecond)
	close(web1.letGo)
	frozen.wantExit(0)
	if got := <-slow; got != "200 web1" {
		t.Errorf("the slow request: %s", got)
	}
}

// A new lbd knows of what is under way on a node that was taken out before it began, or while there was none: lua reads it out
// of Nginx, with resolve lbd has written it down.
func TestLiveDrainOverRestart(t *testing.T) {
	for _, tc := range []struct{ engine, debian, way string }{{"lua", "", "request"}, {"resolve", "sid", "connection"}} {
		t.Run(tc.engine, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, options{engine: tc.engine, debian: tc.debian})
			web1, slow := s.slowOn("web1")
			s.holder("web2")
			s.wantAckOf("web2")
			first := s.freezing("web1")
			first.wantLog("1 " + tc.way + " under way on web1")
			s.lbd.kill()
			s.start()
			wantUnderWay(s, "web1", "1 "+tc.way)
			s.bbctl("unfreeze", "web1", "--wait")
			first.wantExit(1) // it is back, and its request goes on
			s.lbd.kill()
			frozen := s.freezing("web1")
			s.start()
			wantUnderWay(s, "web1", "1 "+tc.way)
			wantWaiting(t, frozen, 3*time.Second)
			close(web1.letGo)
			frozen.wantExit(0)
			if got := <-slow; got != "200 web1" {
				t.Errorf("the slow request: %s", got)
			}
		})
	}
}

// wantUnderWay waits until lb1 says what is under way on a node, by what it has proven.
func wantUnderWay(s *site, id, what string) {
	s.t.Helper()
	s.want("/readyz", 200)
	serverstest.Eventually(s.t, soon, func() error { // what is said in Redis follows
		if out := s.bbctl("status", id); !strings.Contains(out, what+" by lb1") {
			return errors.New(out)
		}
		return nil
	})
}
