package lua_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/lbd/live"
)

// winding is a server with everything that makes one request into several, or ends it in another way than it began.
const winding = `
proxy_http_version 1.1;
proxy_set_header Connection "";
proxy_intercept_errors on;
location / { proxy_pass http://app; }
location /again { proxy_pass http://app; error_page 502 503 404 = @other; }
location @other { proxy_pass http://app; proxy_set_header X-Second 1; rewrite ^ /second break; }
location /accel { proxy_pass http://app; }
location /inside/ { internal; proxy_pass http://app/; }
location /auth { auth_request /verify; proxy_pass http://app; }
location = /verify { internal; proxy_pass http://app/verify; }
location /authlog { auth_request /verifylog; proxy_pass http://app; }
location = /verifylog { internal; log_subrequest on; proxy_pass http://app/verify; }
location /denied { auth_request /deny; proxy_pass http://app; }
location = /deny { internal; proxy_pass http://app/deny; }
location /mirror { mirror /copy; proxy_pass http://app; }
location = /copy { internal; proxy_pass http://app$request_uri; }
location /ssi { ssi on; proxy_pass http://app; }
location /cached { proxy_cache one; proxy_cache_valid 200 1s; proxy_cache_use_stale updating error; proxy_cache_background_update on; proxy_pass http://app; }
location /limited { limit_req zone=few; proxy_pass http://app; }
location /small { client_max_body_size 1k; proxy_pass http://app; }
location /upgrade { proxy_set_header Connection upgrade; proxy_set_header Upgrade $http_upgrade; proxy_pass http://app; }
location /slow { proxy_buffering off; proxy_pass http://app; }
location /capture { content_by_lua_block { ngx.print(ngx.location.capture("/a").status, ngx.location.capture("/b", { share_all_vars = true }).status) } }
location /timeout { proxy_read_timeout 50ms; proxy_next_upstream_tries 2; proxy_pass http://app; }
`

const windingHTTP = `proxy_cache_path cache keys_zone=one:1m; limit_req_zone $uri zone=few:1m rate=1r/s;`

// windingNode answers what the paths of winding ask for.
func windingNode(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/again"):
		http.Error(w, "no", []int{404, 503}[len(path)%2])
	case strings.HasPrefix(path, "/accel"):
		w.Header().Set("X-Accel-Redirect", "/inside/x")
	case path == "/deny":
		w.WriteHeader(http.StatusForbidden)
	case strings.HasPrefix(path, "/ssi"):
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, `<!--# include virtual="/a" --><!--# include virtual="/b" wait="yes" -->`)
	case strings.HasPrefix(path, "/timeout"):
		select {
		case <-r.Context().Done():
		case <-time.After(time.Second):
		}
	case strings.HasPrefix(path, "/slow"):
		for range 20 {
			io.WriteString(w, strings.Repeat("x", 100))
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	case strings.HasPrefix(path, "/abort"):
		panic(http.ErrAbortHandler)
	case strings.HasPrefix(path, "/upgrade"):
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n")
		rw.Flush()
		io.Copy(conn, rw)
	default:
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "ok")
	}
}

// TestCountsDontDrift sends everything at once, with clients that give up and reloads in the middle, and then expects
// that nothing is under way.
func TestCountsDontDrift(t *testing.T) {
	each(t, func(t *testing.T, suite string) {
		var nodes []*node
		for i := range 3 {
			nodes = append(nodes, newNode(t, "n"+strconv.Itoa(i), windingNode))
		}
		peers := peersOf(nodes)
		dead := live.Peer{Slot: 3, Addr: nodes[0].addr, Weight: 1, MaxFails: 0}
		dead.Addr = addrPort("127.0.0.1:9")
		peers = append(peers, dead)
		s := newSite(t, peers, siteOptions{suite: suite, server: winding, http: windingHTTP, inside: "keepalive 8;", workers: 3})
		paths := strings.Fields("/ /again /again1 /accel /auth /authlog /denied /mirror /ssi /cached /limited /small /slow /capture /timeout /abort /none")
		run := func(rounds int) {
			done := make(chan struct{})
			for i := range 8 {
				go func() {
					defer func() { done <- struct{}{} }()
					for j := range rounds {
						path := paths[(i+j*7)%len(paths)]
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+(i*31+j*17)%200)*time.Millisecond)
						var body io.Reader
						if method := []string{"GET", "POST", "HEAD"}[j%3]; method == "POST" {
							body = strings.NewReader(strings.Repeat("b", 3000*(j%2)))
						}
						req, _ := http.NewRequestWithContext(ctx, []string{"GET", "POST", "HEAD"}[j%3], "http://"+s.addr+path, body)
						if resp, err := fresh.Do(req); err == nil {
							io.Copy(io.Discard, resp.Body)
							resp.Body.Close()
						}
						cancel()
					}
				}()
			}
			for i := range 8 {
				if i < 3 {
					s.put(peers)
					s.reload()
				}
				<-done
			}
		}
		run(60)
		serverstest.Eventually(t, soon, func() error { // one that has served nothing yet is not known
			s.get("/")
			if n := len(s.state().Workers); n < 3 {
				return fmt.Errorf("only %d workers are known", n)
			}
			return nil
		})
		s.idle()
	})
}

// TestWebSocketsAndOldWorkers: a connection that lives on counts on its peer through changes and reloads, in the old
// worker, until it ends.
func TestWebSocketsAndOldWorkers(t *testing.T) {
	each(t, func(t *testing.T, suite string) {
		nodes := []*node{newNode(t, "n0", windingNode), newNode(t, "n1", windingNode)}
		peers := peersOf(nodes)
		s := newSite(t, peers, siteOptions{suite: suite, server: winding, http: windingHTTP, workers: 1})
		var conns []net.Conn
		for range 4 {
			conn, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello")
			r := bufio.NewReader(conn)
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != 101 {
				t.Fatal(resp, err)
			}
			echo := make([]byte, 5)
			if _, err := io.ReadFull(r, echo); err != nil || string(echo) != "hello" {
				t.Fatalf("%q %v", echo, err)
			}
			conns = append(conns, conn)
		}
		want := map[int]int{0: 2, 1: 2}
		s.busyIs(want)
		s.reload()
		s.busyIs(want) // in the old worker

		// The message gives n1 another slot and leaves n0 out: what the old worker has under way goes with its peer once
		// it looks, which it does at its next request or end; nothing is lost meanwhile.
		gone := peersOf(nodes)
		gone[0].Gone = true
		s.put(gone)
		s.busyIs(want)
		if got := s.shares("/", 6); got["ok"] != 6 {
			t.Error(got)
		}
		s.busyIs(want)
		conns[0].Close()
		conns[1].Close()
		s.busyIs(map[int]int{0: 1, 1: 1})
		conns[2].Close()
		conns[3].Close()
		s.idle()
	})
}

// TestSlotsMoveWithTheirPeers: from the seed to a message with other slots, and to one that lacks the peer.
func TestSlotsMoveWithTheirPeers(t *testing.T) {
	h := newHolding(t, 3)
	s := newSite(t, peersOf(h.nodes), siteOptions{workers: 1})
	for i := range 6 {
		h.start(s, "/hold")
		h.await(i + 1)
	}
	s.busyIs(map[int]int{0: 2, 1: 2, 2: 2})
	moved := peersOf(h.nodes)[1:] // without n0
	moved[0].Slot, moved[1].Slot = 40, 0
	s.put(moved)
	s.shares("/", 2)
	s.busyIs(map[int]int{-1: 2, 40: 2, 0: 2})
	back := peersOf(h.nodes)
	s.put(back)
	s.shares("/", 2)
	s.busyIs(map[int]int{0: 2, 1: 2, 2: 2})
	h.release()
	s.idle()
}

// TestAKilledWorkersCounts are dropped by Forget, or as soon as its successor registers.
func TestAKilledWorkersCounts(t *testing.T) {
	for _, forget := range []bool{true, false} {
		h := newHolding(t, 1)
		s := newSite(t, peersOf(h.nodes), siteOptions{workers: 1})
		for i := range 3 {
			h.start(s, "/hold")
			h.await(i + 1)
		}
		s.busyIs(map[int]int{0: 3})
		pid := s.state().Workers[0].PID
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		h.await(0)
		if forget {
			if err := s.client.Forget(t.Context(), []int{pid, 1}); err != nil {
				t.Fatal(err)
			}
		}
		s.shares("/", 1)
		s.busyIs(map[int]int{})
		if workers := s.state().Workers; len(workers) != 1 || workers[0].PID == pid {
			t.Errorf("workers %v after %d was killed", workers, pid)
		}
	}
}

// TestSubrequests: what a subrequest has under way ends with the main request at the latest, and with itself where
// log_subrequest is on; and never takes the main one's count with it.
func TestSubrequests(t *testing.T) {
	h := newHolding(t, 1)
	s := newSite(t, peersOf(h.nodes), siteOptions{workers: 1, server: `
location / { proxy_pass http://app; }
location /auth/ { auth_request /verify; proxy_pass http://app/; }
location = /verify { internal; proxy_pass http://app/verify; }
location /authlog/ { auth_request /verifylog; proxy_pass http://app/; }
location = /verifylog { internal; log_subrequest on; proxy_pass http://app/verify; }
`})
	h.start(s, "/auth/hold")
	h.await(1)
	s.busyIs(map[int]int{0: 2})
	h.start(s, "/authlog/hold")
	h.await(2)
	s.busyIs(map[int]int{0: 3})
	s.shares("/auth/", 3)
	s.busyIs(map[int]int{0: 3})
	h.release()
	s.idle()
}

// TestSlices: with log_subrequest a slice takes a place for its own time, however many there are in an answer.
func TestSlices(t *testing.T) {
	const slices = 20
	n := newNode(t, "n0", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(strings.Repeat("x", slices*1024)))
	})
	peers := peersOf([]*node{n})
	peers[0].MaxConns = 2 // the main request, which is the first slice, and one slice more
	s := newSite(t, peers, siteOptions{workers: 1, server: `location / { slice 1k; log_subrequest on; proxy_set_header Range $slice_range; proxy_pass http://app; }`})
	if body, status := s.get("/"); status != 200 || len(body) != slices*1024 {
		t.Errorf("%d, %d bytes, want 200, %d", status, len(body), slices*1024)
	}
	if hits := n.hits.Load(); hits != slices {
		t.Errorf("%d slices were fetched, want %d", hits, slices)
	}
	s.idle()
}

// TestAnOperatorsOwnLog: the line that docs/live-lua.md gives ends the counts where his log_by_lua stands for ours.
func TestAnOperatorsOwnLog(t *testing.T) {
	s := newSite(t, peersOf(newNodes(t, 1)), siteOptions{workers: 1, server: `
location / { proxy_pass http://app; log_by_lua_block {
` + operatorsLine(t) + `
} }
location /without { proxy_pass http://app; log_by_lua_block { local mine = 1 } }
location /file { return 200 ok; }`})
	s.shares("/", 20)
	s.idle()
	s.shares("/without", 1)
	s.busyIs(map[int]int{0: 1})
	serverstest.Eventually(t, soon, func() error { // the request's place in memory is used again, and with it the count heals
		s.shares("/", 20)
		if b := busy(s.state()); len(b) > 0 {
			return fmt.Errorf("under way: %v", b)
		}
		return nil
	})
	s.noFault()

	// At the http level his stands in the place of ours.
	s = newSite(t, peersOf(newNodes(t, 1)), siteOptions{ownLog: true, http: "log_by_lua_block {\n" + operatorsLine(t) + "\n}"})
	s.shares("/", 20)
	s.idle()
}

func TestCountsUnderLoad(t *testing.T) {
	nodes := newNodes(t, 3)
	s := newSite(t, peersOf(nodes), siteOptions{inside: "keepalive 16;"})
	out, err := exec.CommandContext(t.Context(), "wrk", "-t2", "-c32", "-d2s", "http://"+s.addr+"/").CombinedOutput()
	if err != nil || strings.Contains(string(out), "Non-2xx") {
		t.Fatalf("wrk: %v\n%s", err, out)
	}
	s.idle()
	var hits []int64
	for _, n := range nodes {
		hits = append(hits, n.hits.Load())
	}
	t.Logf("%v requests", hits)
}

// busyIs waits until that is under way.
func (s *site) busyIs(want map[int]int) {
	s.t.Helper()
	serverstest.Eventually(s.t, soon, func() error {
		if got := busy(s.state()); !reflect.DeepEqual(got, want) {
			return fmt.Errorf("under way: %v, want %v", got, want)
		}
		return nil
	})
}
