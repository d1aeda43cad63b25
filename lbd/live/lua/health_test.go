package lua_test

import (
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/lbd/live"
)

// failing answers /down with 503, /missing with 404, and closes the connection for /cut.
func failing(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/down":
		w.WriteHeader(503)
	case "/missing":
		w.WriteHeader(404)
	case "/cut":
		panic(http.ErrAbortHandler)
	}
	io.WriteString(w, "ok")
}

// TestRetriesAsNginx compares the tries of one request, their statuses and the answer with Nginx's own, whatever the
// number of peers is now and was in the server lines.
func TestRetriesAsNginx(t *testing.T) {
	var nodes []*node
	for i := range 3 {
		nodes = append(nodes, newNode(t, fmt.Sprint("n", i), failing))
	}
	now := peersOf(nodes)
	for i := range now {
		now[i].MaxFails = 0 // nothing carries over from one case to the next
	}
	dead := live.Peer{Slot: 3, Addr: addrPort("127.0.0.1:9"), Weight: 1}
	more := append(append([]live.Peer(nil), now...), dead)
	for i := range 3 {
		p := dead
		p.Slot = 4 + i
		more = append(more, p)
	}
	single, two := now[:1], now[:2]
	allDead := []live.Peer{dead, more[4]}
	each(t, func(t *testing.T, suite string) {
		for name, c := range map[string]struct{ before, after []live.Peer }{
			"as many": {now, now}, "fewer": {more, two}, "more": {single, now}, "one": {now, single}, "from none": {[]live.Peer{}, now},
			"all dead": {now, allDead}, "one dead": {now, allDead[:1]}, "none": {now, []live.Peer{}},
		} {
			t.Run(name, func(t *testing.T) {
				for _, next := range []string{"", "proxy_next_upstream http_503 error;", "proxy_next_upstream error timeout http_503 http_404; proxy_next_upstream_tries 2;",
					"proxy_next_upstream off;", "proxy_next_upstream error http_503 non_idempotent; proxy_next_upstream_tries 5;"} {
					// plain holds the servers that are there after the change.
					plain := "upstream now { zone now 1m;\n" + serverLines(c.after) + "}\n"
					s := newSite(t, c.before, siteOptions{suite: suite, workers: 1, static: c.before, http: plain, server: next + `
						add_header X-Status $upstream_status always; add_header X-Addr $upstream_addr always;
						location / { proxy_pass http://app; }
						location /now/ { proxy_pass http://now/; }`})
					s.put(c.after)
					for _, path := range []string{"ok", "down", "missing", "cut"} {
						for _, method := range []string{"GET", "POST"} {
							type answer struct {
								code, status, tries string
							}
							var got [2]answer
							for i, prefix := range []string{"/", "/now/"} {
								req, _ := http.NewRequestWithContext(t.Context(), method, "http://"+s.addr+prefix+path, strings.NewReader("b"))
								resp, err := fresh.Do(req)
								if err != nil {
									t.Fatal(err)
								}
								resp.Body.Close()
								tries := strings.Split(resp.Header.Get("X-Addr"), ", ")
								if resp.StatusCode == 502 { // no peer was left: Nginx then names the upstream, or the last peer again
									tries = tries[:len(tries)-1]
								}
								seen := map[string]bool{}
								for _, a := range tries {
									seen[a] = true
								}
								got[i] = answer{resp.Status, resp.Header.Get("X-Status"), fmt.Sprintf("%d tries", len(tries))}
								if i == 0 && len(seen) != len(tries) && name != "one" && name != "all dead" {
									t.Errorf("%s %s with %q: a peer was tried twice: %v", method, path, next, tries)
								}
							}
							if got[0] != got[1] {
								t.Errorf("%s %s with %q: %v, Nginx's own %v", method, path, next, got[0], got[1])
							}
						}
					}
					s.idle()
				}
			})
		}
	})
}

// TestFailedPeers: max_fails within fail_timeout takes a peer out, the last try of a request counts, the time brings
// it back, and a single peer is never out.
func TestFailedPeers(t *testing.T) {
	each(t, func(t *testing.T, suite string) {
		var bad atomic.Bool
		bad.Store(true)
		handle := func(name string) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				if name == "n0" && bad.Load() {
					panic(http.ErrAbortHandler)
				}
				io.WriteString(w, name)
			}
		}
		nodes := []*node{newNode(t, "n0", handle("n0")), newNode(t, "n1", handle("n1"))}
		peers := peersOf(nodes)
		peers[0].MaxFails, peers[0].FailTimeout = 2, 10*time.Minute
		s := newSite(t, peers, siteOptions{suite: suite, workers: 1, server: `location / { proxy_pass http://app; }
			location /last { proxy_next_upstream off; proxy_pass http://app; error_page 502 = @fallback; }
			location @fallback { return 200 fallback; }`})
		s.put(peers)
		// Each of these ends with its only try, and an error page hides it.
		got := s.shares("/last", 20)
		if want := map[string]int{"fallback": 2, "n1": 18}; !reflect.DeepEqual(got, want) {
			t.Errorf("with a failing n0: %v, want %v", got, want)
		}
		if hits := nodes[0].hits.Load(); hits != 2 {
			t.Errorf("n0 was tried %d times, want 2", hits)
		}
		// What is known of the peers outlives a change of others.
		s.put(append(peers, live.Peer{Slot: 9, Addr: addrPort("127.0.0.1:9"), Weight: 1, Down: true}))
		if got := s.shares("/", 6); got["n1"] != 6 {
			t.Errorf("after a change: %v", got)
		}
		// What is known of it counts with another time, too.
		bad.Store(false)
		peers[0].FailTimeout = 2 * time.Second
		s.put(peers)
		serverstest.Eventually(t, soon, func() error {
			if got := s.shares("/", 4); got["n0"] == 0 {
				return fmt.Errorf("n0 does not come back: %v", got)
			}
			return nil
		})
		bad.Store(true)
		s.put(peers[:1])
		for range 5 {
			if _, status := s.get("/"); status != 502 {
				t.Errorf("a failing single peer: %d, want 502", status)
			}
		}
		if hits := nodes[0].hits.Load(); hits < 7 {
			t.Errorf("the single peer was tried %d times: it must not be taken out", hits)
		}
		bad.Store(false)
		if body, _ := s.get("/"); body != "n0" {
			t.Errorf("the single peer that works again: %q", body)
		}
		s.idle()
	})
}

// TestBackups serve when no primary can, and only then.
func TestBackups(t *testing.T) {
	each(t, func(t *testing.T, suite string) {
		nodes := newNodes(t, 4)
		for _, method := range []string{"round_robin", "least_conn"} {
			s := newSite(t, peersOf(nodes), siteOptions{suite: suite, method: method, workers: 1})
			peers := peersOf(nodes)
			peers[2].Backup, peers[3].Backup = true, true
			s.put(peers)
			if got, want := s.shares("/", 8), map[string]int{"n0": 4, "n1": 4}; !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %v, want %v", method, got, want)
			}
			peers = append([]live.Peer(nil), peers...)
			peers[0].Down = true
			peers[1].Addr = addrPort("127.0.0.1:9")
			s.put(peers)
			if got, want := s.shares("/", 8), map[string]int{"n2": 4, "n3": 4}; !reflect.DeepEqual(got, want) {
				t.Errorf("%s without primaries: %v, want %v", method, got, want)
			}
			for i := range peers {
				peers[i].Down = true
			}
			s.put(peers)
			if _, status := s.get("/"); status != 502 {
				t.Errorf("%s with all down: %d, want 502", method, status)
			}
			s.idle()
		}
	})
}

// TestMaxConns holds over all workers, and a request that finds no place is a 502 as with Nginx.
func TestMaxConns(t *testing.T) {
	each(t, func(t *testing.T, suite string) {
		for _, method := range []string{"round_robin", "least_conn", "random two", "hash $request_uri", "hash $request_uri consistent"} {
			h := newHolding(t, 2)
			peers := peersOf(h.nodes)
			peers[0].MaxConns, peers[1].MaxConns = 2, 3
			s := newSite(t, peers, siteOptions{suite: suite, method: method, workers: 3})
			for i := range 5 {
				h.start(s, fmt.Sprint("/hold", i))
				h.await(i + 1)
			}
			if got, want := h.held(), []int{2, 3}; !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %v under way, want %v", method, got, want)
			}
			for range 6 {
				if _, status := s.get("/"); status != 502 {
					t.Errorf("%s: %d with all places taken, want 502", method, status)
				}
			}
			h.release()
			s.idle()
			s.shares("/", 6)
		}
	})
}

// TestKeepAlive: connections to peers are kept and used again by the keepalive line behind the Lua, and by default
// where this Nginx does so.
func TestKeepAlive(t *testing.T) {
	each(t, func(t *testing.T, suite string) {
		nodes := newNodes(t, 2)
		s := newSite(t, peersOf(nodes), siteOptions{suite: suite, workers: 1, inside: "keepalive 4;"})
		s.shares("/", 20)
		s.put(peersOf(nodes))
		s.shares("/", 20)
		if a, b := nodes[0].conns.Load(), nodes[1].conns.Load(); a > 2 || b > 2 {
			t.Errorf("40 requests took %d and %d connections", a, b)
		}
		// A peer that has closed what was kept is tried anew, not taken for failed: also a single one.
		s.put(peersOf(nodes)[:1])
		s.shares("/", 1)
		nodes[0].server.CloseClientConnections()
		s.shares("/", 5)
		s.idle()

		s = newSite(t, peersOf(nodes), siteOptions{suite: suite, workers: 1})
		s.shares("/", 6) // without a keepalive line
		s.idle()
	})
}
