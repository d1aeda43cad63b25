package lua_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// TestTheVeryNextRequest: when Put has returned, no worker sends anything to the peer that it took out, and a request
// that had begun before is in the state.
func TestTheVeryNextRequest(t *testing.T) {
	each(t, func(t *testing.T, suite string) {
		nodes := newNodes(t, 3)
		s := newSite(t, peersOf(nodes), siteOptions{suite: suite, workers: 4, inside: "keepalive 8;"})
		for i := range 40 {
			peers := peersOf(nodes)
			peers[i%3].Gone = true
			s.put(peers)
			for _, c := range busyClients {
				if body, status := s.getBy(c, "/"); status != 200 || body == nodes[i%3].name {
					t.Fatalf("change %d: %d from %s, which is gone", i, status, body)
				}
			}
		}
		s.idle()
	})
}

// TestChangesUnderTraffic: while others send without a pause, a change that has returned holds for every request that
// begins after it, and no request fails.
func TestChangesUnderTraffic(t *testing.T) {
	each(t, func(t *testing.T, suite string) {
		nodes := newNodes(t, 3)
		s := newSite(t, peersOf(nodes), siteOptions{suite: suite, workers: 3, method: "least_conn", inside: "keepalive 8;"})
		var gone sync.Map // node name → the change that took it out, while nothing may begin on it
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for _, c := range busyClients {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					before := map[any]any{}
					gone.Range(func(node, change any) bool { before[node] = change; return true })
					body, status := s.getBy(c, "/")
					// It may have been back meanwhile, and out again.
					if change, still := gone.Load(body); status != 200 || still && before[body] == change {
						t.Errorf("%d from %s, which was gone before the request began", status, body)
						return
					}
				}
			})
		}
		for i := range 150 {
			peers := peersOf(nodes)
			peers[i%3].Gone = true
			for _, n := range nodes {
				gone.Delete(n.name)
			}
			s.put(peers)
			gone.Store(nodes[i%3].name, i)
		}
		close(stop)
		wg.Wait()
		s.idle()
	})
}

// TestARaiseIsFinished: a worker that was killed or stopped in the middle of a change may have told nobody. Once the state
// says that the message is there, every worker goes by it.
func TestARaiseIsFinished(t *testing.T) {
	nodes := newNodes(t, 3)
	s := newSite(t, peersOf(nodes), siteOptions{workers: 4, inside: "keepalive 8;", server: `
location = /half { client_body_buffer_size 1m; content_by_lua_block {
	local d = ngx.shared.bazbeans_1
	local m = d:get("m") + 1
	ngx.req.read_body()
	d:set("m" .. m, ngx.req.get_body_data())
	d:set("m", m)
	if ngx.var.arg_to == "number" then d:incr("v", 1) end } }
location / { proxy_pass http://app; }`})
	s.put(s.peers)
	for i := range 20 {
		for _, c := range busyClients { // all workers know of the last change
			s.getBy(c, "/")
		}
		peers, to := peersOf(nodes), []string{"message", "number"}[i%2]
		peers[i%3].Gone = true
		s.gen++
		resp, err := http.Post("http://"+s.addr+"/half?to="+to, "text/plain", bytes.NewReader(encode(s.gen, peers)))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if is := s.state(); is.Generation != s.gen {
			t.Fatalf("generation %d, want %d", is.Generation, s.gen)
		}
		for _, c := range busyClients {
			if body, status := s.getBy(c, "/"); status != 200 || body == nodes[i%3].name {
				t.Fatalf("change %d, up to the %s: %d from %s, which is gone", i, to, status, body)
			}
		}
	}
	s.idle()
}

// TestNothingComesLate: under load, once the state that Put's own followed shows nothing under way on the peer that it took
// out, nothing more begins there: no request goes by an older set without being counted, whichever way requests look for
// a change. (That the processors keep the order, too, is membarrier's part; it is too short a moment for this test.)
func TestNothingComesLate(t *testing.T) {
	const way = `location = /way { content_by_lua_block { ngx.print(package.loaded["bazbeans.live"].looks_at) } } location / { proxy_pass http://app; }`
	for looksAt, conf := range map[string]string{"memory": "", "dictionary": `init_worker_by_lua_block { require("ffi").arch = "another" }`} {
		nodes := newNodes(t, 3)
		s := newSite(t, peersOf(nodes), siteOptions{workers: 3, method: "least_conn", http: conf, server: way})
		s.put(s.peers)
		load := exec.CommandContext(t.Context(), "wrk", "-t1", "-c24", "-d5m", "http://"+s.addr+"/")
		out := new(bytes.Buffer)
		load.Stdout = out
		if err := load.Start(); err != nil {
			t.Fatal(err)
		}
		for began, changes := time.Now(), 0; changes < 50 || time.Since(began) < 4*time.Second; changes++ {
			peers, slot := peersOf(nodes), changes%3
			peers[slot].Gone = true
			s.put(peers)
			serverstest.Eventually(t, soon, func() error {
				if n := busy(s.state())[slot]; n > 0 {
					return fmt.Errorf("%d requests are under way", n)
				}
				return nil
			})
			before := nodes[slot].hits.Load()
			time.Sleep(3 * time.Millisecond) // for what must not come
			if late := nodes[slot].hits.Load() - before; late > 0 {
				t.Fatalf("%s, change %d: %d requests came after the peer was said to be idle", looksAt, changes, late)
			}
		}
		// Not before: what wrk gives up at its end is counted out before the node has it.
		if err := errors.Join(load.Process.Signal(syscall.SIGINT), load.Wait()); err != nil || strings.Contains(out.String(), "Non-2xx") || !strings.Contains(out.String(), "requests in") {
			t.Errorf("wrk: %v\n%s", err, out)
		}
		if got, _ := s.get("/way"); got != looksAt {
			t.Errorf("requests look at %q, want %q", got, looksAt)
		}
		s.idle()
	}
}

var busyClients = func() []*http.Client {
	var cs []*http.Client
	for range 8 {
		cs = append(cs, &http.Client{Transport: &http.Transport{}, Timeout: soon})
	}
	return cs
}()

func (s *site) getBy(c *http.Client, path string) (string, int) {
	resp, err := c.Get("http://" + s.addr + path)
	if err != nil {
		s.t.Error(err)
		return "", 0
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return string(text), resp.StatusCode
}
