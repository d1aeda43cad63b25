package lua_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestUpdatesDontGrow: thousands of changes, with requests between them, leave workers and dictionary as they were.
// GROWTH=100000 asks for more of them.
func TestUpdatesDontGrow(t *testing.T) {
	rounds := 3000
	if n, err := strconv.Atoi(os.Getenv("GROWTH")); err == nil {
		rounds = n
	}
	nodes := newNodes(t, 2)
	peers := spread(peersOf(nodes), 100)
	s := newSite(t, peers, siteOptions{workers: 2, inside: "keepalive 8;"})
	client := unixClient(s.socket)
	client.Transport.(*http.Transport).DisableKeepAlives = false
	change := func(from, to int) (rss int, free int64) {
		for i := from; i < to; i++ {
			peers[i%100].Weight = 1 + i%7
			peers[(i+50)%100].Down = i%3 == 0
			for status := tookTooLong; status == tookTooLong; {
				req, _ := http.NewRequestWithContext(t.Context(), "PUT", "http://nginx/peers", strings.NewReader(string(encode(int64(i), peers))))
				resp, err := client.Do(req)
				if err != nil || resp.StatusCode != 200 && resp.StatusCode != tookTooLong {
					t.Fatal(resp, err)
				}
				resp.Body.Close()
				status = resp.StatusCode
			}
			if i%10 == 0 {
				s.getBy(busyClients[i/10%len(busyClients)], "/")
			}
		}
		for _, pid := range s.workers() {
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
			if f := strings.Fields(string(text)); len(f) > 1 {
				pages, _ := strconv.Atoi(f[1])
				rss += pages * os.Getpagesize() / 1024
			}
		}
		return rss, s.state().Free
	}
	rss, free := change(0, rounds/3)
	after, freeAfter := change(rounds/3, rounds)
	t.Logf("after %d changes %d KiB, after %d %d KiB; free in the dictionary %d and %d", rounds/3, rss, rounds, after, free, freeAfter)
	if after > rss+rss/4+4096 || freeAfter < free-64<<10 {
		t.Errorf("memory grew from %d to %d KiB, free in the dictionary fell from %d to %d", rss, after, free, freeAfter)
	}
	s.idle()
}

// TestHTTP2: many streams of one connection are requests of their own; some are given up.
func TestHTTP2(t *testing.T) {
	each(t, func(t *testing.T, suite string) {
		h := newHolding(t, 2)
		s := newSite(t, peersOf(h.nodes), siteOptions{suite: suite, workers: 2, server: "listen unix:h2.sock http2; location / { proxy_pass http://app; }"})
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(true)
		client := unixClient(s.nginx.Prefix + "/h2.sock")
		transport := client.Transport.(*http.Transport)
		transport.DisableKeepAlives, transport.Protocols = false, protocols
		for i := range 12 {
			h.wg.Go(func() {
				req, _ := http.NewRequestWithContext(h.ctx, "GET", "http://nginx/hold", nil)
				if resp, err := client.Do(req); err == nil {
					resp.Body.Close()
				}
			})
			h.await(i + 1)
		}
		s.busyIs(map[int]int{0: 6, 1: 6})
		for range 20 {
			req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://nginx/", nil)
			resp, err := client.Do(req)
			if err != nil || resp.ProtoMajor != 2 {
				t.Fatal(resp, err)
			}
			resp.Body.Close()
		}
		s.busyIs(map[int]int{0: 6, 1: 6})
		h.stop() // all clients give up at once
		s.idle()
	})
}

// TestAnotherUsersTest: `nginx -t` of somebody without rights fails by itself and harms nothing.
func TestAnotherUsersTest(t *testing.T) {
	s := newSite(t, peersOf(newNodes(t, 2)), siteOptions{})
	if err := os.Chmod(s.nginx.Prefix, 0o755); err != nil { // he may read the configuration, not the socket's folder
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "nginx", "-t", "-p", s.nginx.Prefix, "-c", s.nginx.Conf, "-e", "stderr")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "Permission denied") {
		t.Errorf("nginx -t as nobody: %v\n%s", err, out)
	}
	s.put(s.peers)
	s.shares("/", 4)
	s.idle()
}
