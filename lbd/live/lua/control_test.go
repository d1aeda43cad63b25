package lua_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/lbd/live"
	"github.com/bazbeans/bazbeans/lbd/live/lua"
)

// TestBadMessagesChangeNothing: each is refused with a reason, and peers, state and message are as before.
func TestBadMessagesChangeNothing(t *testing.T) {
	const head, peer = "bazbeans 1 7 -\n", "peer 0 web1 10.0.0.1 80 1 1 10 0 0 0 -\n"
	line := func(words string) string { return head + "upstream app\npeer " + words + "\nend 1\n" }
	bad := map[string]string{
		"nothing":               "",
		"no line":               "bazbeans 1 7 -",
		"another version":       "bazbeans 2 7 -\nend 0\n",
		"no generation":         "bazbeans 1 x -\nend 0\n",
		"a negative generation": "bazbeans 1 -1 -\nend 0\n",
		"a huge generation":     "bazbeans 1 99999999999999999999 -\nend 0\n",
		"a leading zero":        "bazbeans 1 07 -\nend 0\n",
		"a sum with a quote":    "bazbeans 1 7 a\"b\nend 0\n",
		"no end":                head + "upstream app\n" + peer,
		"cut in a line":         head + "upstream app\npeer 0 web1 10.0",
		"cut in the end":        head + "upstream app\n" + peer + "end",
		"too few":               head + "upstream app\n" + peer + "end 2\n",
		"too many":              head + "upstream app\n" + peer + "end 0\n",
		"behind the end":        head + "end 0\nx\n",
		"a second end":          head + "end 0\nend 0\n",
		"an empty line":         head + "\nend 0\n",
		"CRLF":                  strings.ReplaceAll(line("0 web1 10.0.0.1 80 1 1 10 0 0 0 -"), "\n", "\r\n"),
		"NUL":                   line("0 web1 10.0.0.1\x00 80 1 1 10 0 0 0 -"),
		"no upstream":           head + peer + "end 1\n",
		"an upstream twice":     head + "upstream app\nupstream app\nend 0\n",
		"an upstream's name":    head + "upstream a/b\nend 0\n",
		"a long name":           head + "upstream " + strings.Repeat("a", 129) + "\nend 0\n",
		"a slot twice":          head + "upstream app\n" + peer + strings.Replace(peer, "10.0.0.1", "10.0.0.2", 1) + "end 2\n",
		"a large slot":          line("16384 web1 10.0.0.1 80 1 1 10 0 0 0 -"),
		"a negative slot":       line("-1 web1 10.0.0.1 80 1 1 10 0 0 0 -"),
		"a hex slot":            line("0x1 web1 10.0.0.1 80 1 1 10 0 0 0 -"),
		"a name for an address": line("0 web1 localhost 80 1 1 10 0 0 0 -"),
		"a unix socket":         line("0 web1 unix:/run/docker.sock 80 1 1 10 0 0 0 -"),
		"an octal address":      line("0 web1 010.0.0.1 80 1 1 10 0 0 0 -"),
		"a number for one":      line("0 web1 2130706433 80 1 1 10 0 0 0 -"),
		"a short address":       line("0 web1 10.1 80 1 1 10 0 0 0 -"),
		"brackets":              line("0 web1 [::1] 80 1 1 10 0 0 0 -"),
		"a zone":                line("0 web1 fe80::1%eth0 80 1 1 10 0 0 0 -"),
		"a port in the address": line("0 web1 10.0.0.1:80 80 1 1 10 0 0 0 -"),
		"port 0":                line("0 web1 10.0.0.1 0 1 1 10 0 0 0 -"),
		"a large port":          line("0 web1 10.0.0.1 65536 1 1 10 0 0 0 -"),
		"weight 0":              line("0 web1 10.0.0.1 80 0 1 10 0 0 0 -"),
		"a large weight":        line("0 web1 10.0.0.1 80 65536 1 10 0 0 0 -"),
		"a fraction":            line("0 web1 10.0.0.1 80 1.5 1 10 0 0 0 -"),
		"an exponent":           line("0 web1 10.0.0.1 80 1e3 1 10 0 0 0 -"),
		"not a number":          line("0 web1 10.0.0.1 80 nan 1 10 0 0 0 -"),
		"a sign":                line("0 web1 10.0.0.1 80 +1 1 10 0 0 0 -"),
		"a word too few":        line("0 web1 10.0.0.1 80 1 1 10 0 0 0"),
		"a word too many":       line("0 web1 10.0.0.1 80 1 1 10 0 0 0 - -"),
		"two spaces":            line("0 web1  10.0.0.1 80 1 1 10 0 0 0 -"),
		"an id with a slash":    line("0 ../x 10.0.0.1 80 1 1 10 0 0 0 -"),
		"a long id":             line("0 " + strings.Repeat("i", 129) + " 10.0.0.1 80 1 1 10 0 0 0 -"),
		"unknown flags":         line("0 web1 10.0.0.1 80 1 1 10 0 0 0 x"),
		"a flag twice":          line("0 web1 10.0.0.1 80 1 1 10 0 0 0 dd"),
		"a far future":          line("0 web1 10.0.0.1 80 1 1 10 0 0 999999999999 -"),
		"Lua":                   head + "upstream app\n]==] os.exit() --[==[\nend 0\n",
		"binary":                "\x1bLJ\x02\x00" + strings.Repeat("\xff", 1000),
	}
	many := live.Message{Generation: 7, Upstreams: []live.Upstream{{Name: "app"}}}
	for i := range 10001 {
		many.Upstreams[0].Peers = append(many.Upstreams[0].Peers, live.Peer{Slot: i, Addr: addrPort("10.0.0.1:80"), Weight: 1})
	}
	bad["10,001 peers"] = string(many.Encode())
	bad["4 MiB and a byte"] = head + strings.Repeat("x", 4<<20+1-len(head))

	s := newSite(t, peersOf(newNodes(t, 2)), siteOptions{})
	s.put(peersOf(newNodes(t, 2)))
	before, _, err := s.client.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range bad {
		err := s.client.Put(t.Context(), []byte(text))
		var refused *lua.Refused
		if !errors.As(err, &refused) || refused.Status != 400 && refused.Status != 413 || refused.Reason == "" {
			t.Errorf("%s: %v, want a refusal with its reason", name, err)
		}
		after, found, err := s.client.Get(t.Context())
		if !bytes.Equal(before, after) || !found || err != nil {
			t.Fatalf("%s changed the message to %.200q (%v)", name, after, err)
		}
	}
	s.shares("/", 10)
	s.idle()
}

// TestGoodMessages: the bounds themselves are taken.
func TestGoodMessages(t *testing.T) {
	s := newSite(t, peersOf(newNodes(t, 1)), siteOptions{})
	if message, found, err := s.client.Get(t.Context()); found || err != nil {
		t.Errorf("before the first message: %q %v", message, err)
	}
	if err := s.client.Put(t.Context(), live.Message{Generation: 3}.Encode()); err != nil {
		t.Error(err)
	}
	s.shares("/", 4) // a message that does not name the upstream leaves it its seed
	full := live.Message{Generation: 1e14, Sum: strings.Repeat("f", 64), Upstreams: []live.Upstream{{Name: "app"}, {Name: "other.one-2"}}}
	for i := range 10000 {
		full.Upstreams[i%2].Peers = append(full.Upstreams[i%2].Peers, live.Peer{
			Slot: 16383 - i, ID: strings.Repeat("i", 124) + strconv.Itoa(i), Addr: addrPort("[fd00:1111:2222:3333:4444:5555:6666:7777]:65535"), Weight: 65535,
			MaxFails: 1e6, FailTimeout: 1e8 * time.Second, MaxConns: 1e6, SlowStart: 1e6 * time.Second, Since: time.Unix(99999999999, 0), Down: true, Backup: true, Gone: true,
		})
	}
	for range 3 {
		s.putText(full.Encode())
	}
	if got, _, err := s.client.Get(t.Context()); err != nil || !bytes.Equal(got, full.Encode()) {
		t.Errorf("the message came back with %d bytes (%v)", len(got), err)
	}
	if state := s.state(); state.Generation != 1e14 || state.Sum != full.Sum {
		t.Errorf("state %d %s", state.Generation, state.Sum)
	}
	if _, status := s.get("/"); status != 502 {
		t.Errorf("with no peer left: %d, want 502", status)
	}
	s.put(peersOf(newNodes(t, 2))) // and back to an older generation
	s.shares("/", 4)
	s.idle()
}

// TestAnotherRequest gets an answer that says what there is.
func TestAnotherRequest(t *testing.T) {
	s := newSite(t, peersOf(newNodes(t, 1)), siteOptions{})
	for _, path := range []string{"/", "/etc/passwd", "/peers/../x", "/state%00"} {
		req, _ := http.NewRequestWithContext(t.Context(), "DELETE", "http://nginx"+path, nil)
		resp, err := unixClient(s.socket).Do(req)
		if err != nil || resp.StatusCode == 200 {
			t.Errorf("DELETE %s: %v %v", path, resp, err)
		}
		resp.Body.Close()
	}
	if err := s.client.Forget(t.Context(), []int{1, -5, 1 << 40}); err != nil {
		t.Error(err)
	}
	s.shares("/", 2)
}

// TestAnOperatorsRulesForAll: what an operator has at the http level, for all his servers, is not in the control server's way.
func TestAnOperatorsRulesForAll(t *testing.T) {
	each(t, func(t *testing.T, suite string) {
		s := newSite(t, peersOf(newNodes(t, 2)), siteOptions{suite: suite, http: `
limit_req_zone $binary_remote_addr zone=few:1m rate=1r/m;
limit_conn_zone $server_name zone=none:1m;
limit_req zone=few; limit_conn none 1; limit_rate 1; auth_request /nobody; auth_basic x; deny all; mirror /nobody; add_header X-Mine 1 always;
access_by_lua_block { ngx.exit(403) }
rewrite_by_lua_block { ngx.exit(403) }
server_rewrite_by_lua_block { if ngx.var.remote_addr == "unix:" then ngx.exit(403) end }
header_filter_by_lua_block { if ngx.var.remote_addr == "unix:" then ngx.status = 404 end }
body_filter_by_lua_block { if ngx.var.remote_addr == "unix:" then ngx.arg[1] = "" end }
error_page 400 404 500 503 =200 /nobody;
`, server: `location / { limit_req_dry_run on; limit_conn_dry_run on; limit_rate 0; auth_request off; auth_basic off; allow all; mirror off;
access_by_lua_block { return } rewrite_by_lua_block { return } proxy_pass http://app; }`})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := s.client.Put(ctx, encode(0, s.peers)); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			s.put(s.peers)
			s.shares("/", 2)
			s.idle()
		}
		var refused *lua.Refused
		if err := s.client.Put(t.Context(), []byte("nonsense\n")); !errors.As(err, &refused) || refused.Status != 400 {
			t.Errorf("a bad message: %v", err)
		}
		if text, found, err := s.client.Get(t.Context()); err != nil || !found || !bytes.Equal(text, encode(s.gen, s.peers)) {
			t.Errorf("the present message: %q, %v, %v", text, found, err)
		}
	})
}

// TestADictionaryWithoutRoom: a message that does not fit changes nothing, and requests go on.
func TestADictionaryWithoutRoom(t *testing.T) {
	each(t, func(t *testing.T, suite string) {
		fill := `location /fill { content_by_lua_block {
			local d, size = ngx.shared.bazbeans_1, 65536
			while size > 8 do
				local ok = d:safe_set("fill" .. (d.n or 0) .. "-" .. ngx.now() .. math.random(), string.rep("x", size))
				if not ok then size = size / 2 end
			end
			ngx.say("full") } }
			location /empty { content_by_lua_block {
			local d = ngx.shared.bazbeans_1
			for _, k in ipairs(d:get_keys(0)) do if k:find("^fill") then d:delete(k) end end
			ngx.say("empty") } }
			location / { proxy_pass http://app; }`
		s := newSite(t, peersOf(newNodes(t, 2)), siteOptions{suite: suite, server: fill, workers: 1})
		s.shares("/", 2)
		s.put(peersOf(newNodes(t, 2)))
		before, _, _ := s.client.Get(t.Context())
		s.get("/fill")
		big := live.Message{Generation: 9, Upstreams: []live.Upstream{{Name: "app"}}}
		for i := range 200 {
			big.Upstreams[0].Peers = append(big.Upstreams[0].Peers, live.Peer{Slot: i, Addr: addrPort("127.0.0.1:9"), Weight: 1})
		}
		var refused *lua.Refused
		if err := s.client.Put(t.Context(), big.Encode()); !errors.As(err, &refused) || refused.Status != 507 {
			t.Errorf("put into a full dictionary: %v, want 507", err)
		}
		if after, _, err := s.client.Get(t.Context()); !bytes.Equal(before, after) {
			t.Errorf("the message is now %q (%v)", after, err)
		}
		s.shares("/", 10)
		s.get("/empty")
		s.put(peersOf(newNodes(t, 2)))
		s.shares("/", 10)
		s.idle()
	})
}

// TestFuzzMessages throws mutations of a good message at the real thing: whatever is taken can be balanced by, and
// whatever is not leaves a reason; nothing throws.
func TestFuzzMessages(t *testing.T) {
	nodes := newNodes(t, 3)
	s := newSite(t, peersOf(nodes), siteOptions{workers: 1, method: "hash $request_uri consistent"})
	good := string(encode(5, weigh(peersOf(nodes), 1, 2, 3)))
	r := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	taken := 0
	words := []string{"0", "-", "1", "16383", "65535", "dbg", "::1", "10.0.0.1", "\n", " ", "end 3\n", "upstream app\n", "99999999999", "g", "peer"}
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		text := good
		for range 1 + r.IntN(3) {
			at := r.IntN(len(text))
			switch r.IntN(4) {
			case 0:
				text = text[:at] + string(rune(r.IntN(256))) + text[at+1:]
			case 1:
				text = text[:at] + words[r.IntN(len(words))] + text[at:]
			case 2:
				to := min(len(text), at+1+r.IntN(20))
				text = text[:at] + text[to:]
			case 3:
				fields := strings.Split(text, " ")
				fields[r.IntN(len(fields))] = words[r.IntN(len(words))]
				text = strings.Join(fields, " ")
			}
		}
		err := s.client.Put(t.Context(), []byte(text))
		var refused *lua.Refused
		switch {
		case err == nil:
			if taken++; taken%20 == 0 {
				s.get("/") // 200 or 502, as the peers are
			}
		case !errors.As(err, &refused) || refused.Status != 400 && refused.Status != 413 && refused.Status != tookTooLong:
			t.Fatalf("%q: %v", text, err)
		}
	}
	for _, w := range s.state().Workers { // it goes by Nginx's own lines where a weight makes the ring too large
		if w.Error != "" && !strings.Contains(w.Error, "is too large") {
			t.Errorf("worker %d: %s", w.PID, w.Error)
		}
	}
	s.put(peersOf(nodes))
	s.shares("/", 10)
	s.idle()
	t.Logf("%d were taken", taken)
}

// TestTheGoReaderAgrees: what lbd reads back is what Nginx took.
func TestTheGoReaderAgrees(t *testing.T) {
	s := newSite(t, peersOf(newNodes(t, 2)), siteOptions{})
	s.put(s.peers)
	text, _, err := s.client.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m, err := live.Decode(text)
	if err != nil || fmt.Sprint(m.Upstreams[0].Peers) != fmt.Sprint(s.peers) {
		t.Errorf("%v, %v", m, err)
	}
}

// TestLatePut: a worker that was held up takes nothing that nobody waits for any more: it would undo what came meanwhile.
func TestLatePut(t *testing.T) {
	s := newSite(t, peersOf(newNodes(t, 2)), siteOptions{})
	s.put(s.peers)
	for before, want := range map[time.Time]int{time.Now().Add(-time.Millisecond): 409, time.Now().Add(time.Minute): 200} {
		path := fmt.Sprintf("http://nginx/peers?before=%d", before.UnixMilli())
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, path, strings.NewReader(string(encode(99, s.peers))))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := unixClient(s.socket).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if took := s.state().Generation == 99; resp.StatusCode != want || took != (want == 200) {
			t.Errorf("in time %t: %s, taken %t", want == 200, resp.Status, took)
		}
		s.put(s.peers)
	}
}

// TestTheLockOfAKilledWorker: a worker that is killed in the middle of a change holds up no other.
func TestTheLockOfAKilledWorker(t *testing.T) {
	s := newSite(t, peersOf(newNodes(t, 2)), siteOptions{server: `location /lock { content_by_lua_block {
		ngx.shared.bazbeans_1:set("lock", ngx.var.arg_pid, 60) } }`})
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	s.get(fmt.Sprintf("/lock?pid=%d", os.Getpid()))
	refused := new(lua.Refused)
	if err := s.client.Put(t.Context(), encode(98, s.peers)); !errors.As(err, &refused) || refused.Status != 503 {
		t.Errorf("while another change is under way: %v", err)
	}
	s.get(fmt.Sprintf("/lock?pid=%d", ended.Process.Pid))
	if err := s.client.Put(t.Context(), encode(99, s.peers)); err != nil || s.state().Generation != 99 {
		t.Errorf("the lock of a process that has ended: %v, state %v", err, s.state())
	}
}

// TestEmptiedTwice: whoever answers is in the state, or lbd would take it for another Nginx.
func TestEmptiedTwice(t *testing.T) {
	s := newSite(t, peersOf(newNodes(t, 2)), siteOptions{workers: 1, server: `location /lose { content_by_lua_block {
		ngx.shared.bazbeans_1:flush_all() } }`})
	s.put(s.peers)
	for range 2 {
		s.get("/lose")
		if is := s.state(); len(is.Workers) != 1 || is.Generation != 0 {
			t.Errorf("%+v", is)
		}
	}
}
