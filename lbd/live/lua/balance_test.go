package lua_test

import (
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/lbd/live"
)

// weigh gives the peers these weights.
func weigh(peers []live.Peer, weights ...int) []live.Peer {
	for i, w := range weights {
		peers[i].Weight = w
	}
	return peers
}

// TestSamePeerAsNginx holds the methods that tie a client to a peer against Nginx's own, in the same Nginx: a change
// of engines moves nobody.
func TestSamePeerAsNginx(t *testing.T) {
	const ask = `set_real_ip_from 127.0.0.1; set_real_ip_from unix:; real_ip_header X-Client;
		location / { proxy_pass http://app; }`
	variants := map[string]func([]live.Peer) []live.Peer{
		"equal":   func(p []live.Peer) []live.Peer { return p },
		"weights": func(p []live.Peer) []live.Peer { return weigh(p, 1, 5, 2, 1, 3) },
		"down": func(p []live.Peer) []live.Peer {
			p[1].Down, p[4].Down = true, true
			return weigh(p, 2, 1, 1, 3, 1)
		},
		"all down but one": func(p []live.Peer) []live.Peer {
			p[0].Down, p[1].Down, p[2].Down, p[3].Down = true, true, true, true
			return p
		},
		"one": func(p []live.Peer) []live.Peer { return p[:1] },
		"dead": func(p []live.Peer) []live.Peer { // and never marked so: each try goes on from there as Nginx's own does
			for i := range p {
				p[i].MaxFails = 0
			}
			p[2].Addr = netip.MustParseAddrPort("127.0.0.1:9")
			return weigh(p, 1, 1, 4, 1, 2)
		},
	}
	each(t, func(t *testing.T, suite string) {
		nodes := newNodes(t, 4)
		six, err := net.Listen("tcp", "[::1]:0")
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, newNodeAt(t, "six", six, nil))
		for _, method := range []string{"ip_hash", "hash $arg_k", "hash $arg_k consistent", "hash $arg_k:x$http_x_client/$arg_none"} {
			for name, vary := range variants {
				t.Run(method+"/"+name, func(t *testing.T) {
					peers := vary(peersOf(nodes))
					s := newSite(t, peers, siteOptions{suite: suite, method: method, plain: method, server: ask})
					s.put(peers)
					for i := range 150 {
						client := fmt.Sprintf("10.%d.%d.7", i%7, i*37%256)
						if i%3 == 0 {
							client = fmt.Sprintf("2001:db8:%x::%x", i, i*7919%65536)
						}
						var got [2]string
						for j, path := range []string{"/", "/plain"} {
							req, _ := http.NewRequestWithContext(t.Context(), "GET", fmt.Sprintf("http://%s%s?k=key-%d", s.addr, path, i*i), nil)
							req.Header.Set("X-Client", client)
							got[j], _ = s.do(req)
						}
						if got[0] != got[1] {
							t.Fatalf("client %s, key %d: %q, Nginx's own %q", client, i*i, got[0], got[1])
						}
					}
					s.noFault()
				})
			}
		}
	})
}

// TestEmptyKeyTakesTurns: Nginx goes by round robin when the key of hash is empty.
func TestEmptyKeyTakesTurns(t *testing.T) {
	for _, method := range []string{"hash $arg_none", "hash $arg_none consistent"} {
		s := newSite(t, peersOf(newNodes(t, 3)), siteOptions{method: method, workers: 1})
		if got, want := s.shares("/", 9), map[string]int{"n0": 3, "n1": 3, "n2": 3}; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", method, got, want)
		}
	}
}

// TestSharesOfRoundRobin: whole rounds give each its weight exactly, and the turns are as smooth as Nginx's own.
func TestSharesOfRoundRobin(t *testing.T) {
	each(t, func(t *testing.T, suite string) {
		for _, weights := range [][]int{{1, 1, 1}, {5, 1, 1}, {3, 2, 1}, {4, 4, 4}} {
			peers, total := weigh(peersOf(newNodes(t, 3)), weights...), weights[0]+weights[1]+weights[2]
			s := newSite(t, peers, siteOptions{suite: suite, workers: 1, plain: "round_robin"})
			s.put(peers)
			got, plain := s.shares("/", 4*total), s.shares("/plain", 4*total)
			if !reflect.DeepEqual(got, plain) || got["n0"] != 4*weights[0] {
				t.Errorf("weights %v: %v, Nginx's own %v", weights, got, plain)
			}
			row, longest, last := 0, 0, ""
			for range 4 * total {
				body, _ := s.get("/")
				if row++; body != last {
					row, last = 1, body
				}
				longest = max(longest, row)
			}
			if limit := map[int]int{1: 1, 5: 5, 3: 2, 4: 1}[weights[0]]; longest > limit {
				t.Errorf("weights %v: %d times the same peer in a row, want at most %d", weights, longest, limit)
			}
			s.idle()
		}
	})
}

// TestSharesOfManyWorkers: whichever worker answers, all peers get their part, and no two workers need begin alike.
func TestSharesOfManyWorkers(t *testing.T) {
	s := newSite(t, weigh(peersOf(newNodes(t, 4)), 1, 1, 2, 4), siteOptions{workers: 4})
	got := s.shares("/", 1600)
	for name, want := range map[string]int{"n0": 200, "n1": 200, "n2": 400, "n3": 800} {
		if math.Abs(float64(got[name]-want)) > 20 {
			t.Errorf("%s answered %d times, want about %d", name, got[name], want)
		}
	}
}

func TestSharesOfRandom(t *testing.T) {
	each(t, func(t *testing.T, suite string) {
		for _, method := range []string{"random", "random two", "random two least_conn"} {
			nodes := newNodes(t, 3)
			peers := weigh(peersOf(nodes), 1, 3, 4)
			s := newSite(t, peers, siteOptions{suite: suite, method: method, plain: method})
			const n = 1200
			got, plain := s.shares("/", n), s.shares("/plain", n)
			for i, node := range nodes {
				p, draws := float64(peers[i].Weight)/8, 1.
				if method != "random" { // of two different ones the less busy, and none is: the second drawn
					p, draws = float64(plain[node.name])/n, 2 // Nginx's own share is by chance, too
				}
				if off := math.Abs(float64(got[node.name]) - p*n); off > 7*math.Sqrt(draws*n*p*(1-p)) {
					t.Errorf("%s: %s answered %d of %d, want about %.0f; Nginx's own %v", method, node.name, got[node.name], n, p*n, plain)
				}
			}
			s.idle()
		}
	})
}

// TestLeastConnSeesAllWorkers: what is under way in any worker counts, and weights do.
func TestLeastConnSeesAllWorkers(t *testing.T) {
	each(t, func(t *testing.T, suite string) {
		for _, method := range []string{"least_conn", "random two least_conn"} {
			h := newHolding(t, 3)
			peers := peersOf(h.nodes)
			s := newSite(t, peers, siteOptions{suite: suite, method: method, workers: 3})
			for i := range 24 {
				was := h.held()
				h.start(s, "/hold")
				h.await(i + 1)
				for j, now := range h.held() {
					// Of two different ones the busier gets nothing, so the busiest of all never does, whatever is drawn.
					if others := slices.Delete(slices.Clone(was), j, j+1); now > was[j] && was[j] > slices.Max(others) {
						t.Errorf("%s: request %d went to the busiest: %v, then %v", method, i+1, was, h.held())
					}
				}
			}
			if low, high := h.spread(); method == "least_conn" && high > low {
				t.Errorf("%s: 24 requests under way lie as %v", method, h.held())
			}
			peers = weigh(append([]live.Peer(nil), peers...), 4, 1, 1)
			s.put(peers)
			if method == "least_conn" {
				for i := range 24 {
					h.start(s, "/hold")
					h.await(25 + i)
				}
				if got, want := h.held(), []int{32, 8, 8}; !reflect.DeepEqual(got, want) {
					t.Errorf("with weights 4, 1, 1: %v under way, want %v", got, want)
				}
			}
			h.release()
			s.idle()
		}
	})
}

// TestLeastConnTakesTurnsAmongEquals: with nothing under way it is round robin, by weight, as Nginx's own.
func TestLeastConnTakesTurnsAmongEquals(t *testing.T) {
	each(t, func(t *testing.T, suite string) {
		for _, weights := range [][]int{{1, 1, 1}, {1, 2, 3}} {
			peers := weigh(peersOf(newNodes(t, 3)), weights...)
			s := newSite(t, peers, siteOptions{suite: suite, method: "least_conn", plain: "least_conn", workers: 1})
			if got, plain := s.shares("/", 60), s.shares("/plain", 60); !reflect.DeepEqual(got, plain) {
				t.Errorf("weights %v: %v, Nginx's own %v", weights, got, plain)
			}
		}
	})
}

// TestSlowStart: a peer that just came gets a small part, one in the middle of its time about half, one whose time is
// over all of it.
func TestSlowStart(t *testing.T) {
	nodes := newNodes(t, 2)
	for _, method := range []string{"round_robin", "least_conn", "random"} {
		s := newSite(t, peersOf(nodes), siteOptions{method: method, workers: 1})
		for _, c := range []struct {
			since     time.Duration // before now
			low, high int           // of 300 requests
		}{{0, 1, 20}, {500 * time.Second, 60, 145}, {1000 * time.Second, 110, 190}, {-100 * time.Second, 1, 20}} {
			peers := peersOf(nodes)
			peers[1].SlowStart, peers[1].Since = 1000*time.Second, time.Now().Add(-c.since)
			s.put(peers)
			if method == "random" { // six times the spread of what is drawn
				c.low, c.high = max(0, c.low-10), c.high+10 // at first three of 300 on average: now and then none
			}
			if got := s.shares("/", 300)["n1"]; got < c.low || got > c.high {
				t.Errorf("%s: %v after it came n1 got %d of 300, want %d to %d", method, c.since, got, c.low, c.high)
			}
		}
		s.noFault()
	}
}

// TestAThousandPeers: the message, the seed and every method take them.
func TestAThousandPeers(t *testing.T) {
	nodes := newNodes(t, 4)
	var peers []live.Peer
	for i := range 1000 {
		p := peersOf(nodes)[i%4]
		p.Slot, p.ID = i, "node-"+strconv.Itoa(i)
		peers = append(peers, p)
	}
	for _, method := range []string{"round_robin", "least_conn", "random two", "ip_hash", "hash $arg_k consistent"} {
		s := newSite(t, peers, siteOptions{method: method, workers: 1})
		s.shares("/", 40)
		peers[7].Weight = 3
		s.put(peers)
		s.shares("/", 40)
		s.idle()
	}
}

// TestFewerPeers: wherever the turn was, a set that shrinks is served whole, and nothing but it.
func TestFewerPeers(t *testing.T) {
	nodes := newNodes(t, 40)
	for _, method := range []string{"least_conn", "round_robin", "random two least_conn"} {
		s := newSite(t, peersOf(nodes), siteOptions{method: method, workers: 1})
		for i := range 60 {
			many := []int{40, 16, 10}[i%3]
			s.put(peersOf(nodes[:many]))
			for range many - 1 - i%2 {
				s.get("/")
			}
			few := 1 + i%7
			s.put(peersOf(nodes[:few]))
			got := map[string]bool{}
			for range 8 * few {
				name, status := s.get("/")
				if status != 200 {
					t.Fatalf("%s: %d with %d peers", method, status, few)
				}
				got[name] = true
			}
			for name := range got {
				if n, _ := strconv.Atoi(strings.TrimPrefix(name, "n")); n >= few {
					t.Fatalf("%s: %s answers among %d peers", method, name, few)
				}
			}
			if method != "random two least_conn" && len(got) != few {
				t.Fatalf("%s: %v answer, want %d", method, got, few)
			}
		}
		s.idle()
	}
}
