package lua_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/lbd/live"
	"github.com/bazbeans/bazbeans/lbd/live/lua"
	"github.com/bazbeans/bazbeans/nginx-test/base"
)

// soon bounds every wait for something that takes moments on a quiet machine.
const soon = time.Minute

// site is a real Nginx with the live upstream `app`, and how to speak with it.
type site struct {
	t      testing.TB
	root   *base.Root
	nginx  *servers.Nginx
	addr   string // where it listens
	socket string
	client *lua.Client
	gen    int64
	peers  []live.Peer
}

// options of a site; the zero value is round robin with two workers.
type siteOptions struct {
	suite   string // the Debian whose Nginx it is; default: bookworm
	method  string
	workers int
	noInit  bool
	ownLog  bool
	noCells bool        // counts are in the dictionary, as with a zone that is not laid out as expected
	static  []live.Peer // the peers of the server lines and the seed; default: those given to newSite
	inside  string      // in the upstream block, after the Lua
	http    string      // at the http level
	server  string      // in the server block; default: a location / that passes to app
	plain   string      // also an upstream `plain` by Nginx's own method, reached under /plain
	files   map[string]string
}

// each runs a test on every Nginx.
func each(t *testing.T, test func(t *testing.T, suite string)) {
	for _, suite := range base.Suites {
		t.Run(suite, func(t *testing.T) { t.Parallel(); test(t, suite) })
	}
}

// node is a backend that answers its own name.
type node struct {
	name   string
	addr   netip.AddrPort
	server *httptest.Server
	hits   atomic.Int64
	conns  atomic.Int64
}

// newNode starts a backend; handle may be nil.
func newNode(t testing.TB, name string, handle http.HandlerFunc) *node {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newNodeAt(t, name, l, handle)
}

func newNodeAt(t testing.TB, name string, l net.Listener, handle http.HandlerFunc) *node {
	n := &node{name: name}
	n.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.hits.Add(1)
		if handle != nil {
			handle(w, r)
			return
		}
		io.WriteString(w, name)
	}))
	n.server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			n.conns.Add(1)
		}
	}
	n.server.Listener.Close()
	n.server.Listener = l
	n.server.Start()
	t.Cleanup(func() { n.server.CloseClientConnections(); n.server.Close() })
	n.addr = netip.MustParseAddrPort(n.server.Listener.Addr().String())
	return n
}

func newNodes(t testing.TB, count int) []*node {
	var nodes []*node
	for i := range count {
		nodes = append(nodes, newNode(t, "n"+strconv.Itoa(i), nil))
	}
	return nodes
}

// peersOf gives each node a slot, in order, with Nginx's defaults.
func peersOf(nodes []*node) []live.Peer {
	var peers []live.Peer
	for i, n := range nodes {
		peers = append(peers, live.Peer{Slot: i, ID: n.name, Addr: n.addr, Weight: 1, MaxFails: 1, FailTimeout: 10 * time.Second})
	}
	return peers
}

// serverLines are the peers as Nginx's own.
func serverLines(peers []live.Peer) string {
	var t strings.Builder
	for _, p := range peers {
		if p.Gone {
			continue
		}
		fmt.Fprintf(&t, "    server %s weight=%d max_fails=%d fail_timeout=%ds", p.Addr, p.Weight, p.MaxFails, int(p.FailTimeout/time.Second))
		if p.MaxConns > 0 {
			fmt.Fprintf(&t, " max_conns=%d", p.MaxConns)
		}
		if p.Down {
			t.WriteString(" down")
		}
		if p.Backup {
			t.WriteString(" backup")
		}
		t.WriteString(";\n")
	}
	if t.Len() == 0 {
		return "    server 127.0.0.1:9 down;\n"
	}
	return t.String()
}

func encode(generation int64, peers []live.Peer) []byte {
	return live.Message{Generation: generation, Upstreams: []live.Upstream{{Name: "app", Peers: peers}}}.Encode()
}

// conf is the whole nginx.conf.
func (s *site) conf(o siteOptions) string {
	var modules strings.Builder
	for _, m := range s.root.Lua() {
		fmt.Fprintf(&modules, "load_module %s;\n", m)
	}
	if o.method == "" {
		o.method = "round_robin"
	}
	if o.workers == 0 {
		o.workers = 2
	}
	static := o.static
	if static == nil {
		static = s.peers
	}
	server := o.server
	if server == "" {
		server = "location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\"; }"
	}
	plain := ""
	if o.plain != "" {
		line := o.plain + ";"
		if o.plain == "round_robin" {
			line = ""
		}
		plain = fmt.Sprintf("upstream plain { zone plain 4m; %s\n%s%s }\n", line, serverLines(static), o.inside)
		server += "\nlocation /plain { proxy_pass http://plain; proxy_http_version 1.1; proxy_set_header Connection \"\"; }"
	}
	common := lua.Common(lua.Options{Socket: s.socket, Init: !o.noInit, OwnLog: o.ownLog})
	if o.noCells {
		common = regexp.MustCompile("lua_shared_dict "+lua.CellsName+" .*;\n").ReplaceAllString(common, "")
	}
	return fmt.Sprintf(`%s
user root;
worker_processes %d;
pid nginx.pid;
error_log error.log notice;
events { worker_connections 4096; }
http {
access_log off;
default_type text/plain;
client_body_temp_path client_body_temp;
proxy_temp_path proxy_temp;
fastcgi_temp_path fastcgi_temp;
uwsgi_temp_path uwsgi_temp;
scgi_temp_path scgi_temp;
server_tokens off;
%s
%s
upstream app {
zone app 4m;
%s
%s
%s
}
%s
server {
listen %s reuseport;
%s
}
}
`, modules.String(), o.workers, common, o.http, serverLines(static),
		lua.Balancer("app", o.method, string(encode(0, static))), o.inside, plain, s.addr, server)
}

// newSite starts Nginx with these peers in its server lines and seed.
func newSite(t testing.TB, peers []live.Peer, o siteOptions) *site {
	t.Helper()
	if o.suite == "" {
		o.suite = "bookworm"
	}
	root, err := base.Get(t.Context(), o.suite)
	if err != nil {
		t.Fatal(err)
	}
	dir := serverstest.Dir(t)
	s := &site{t: t, root: root, peers: peers, addr: servers.Loopback(serverstest.Ports(t, 1)[0]), socket: filepath.Join(dir, "live/control.sock")}
	if err := os.MkdirAll(filepath.Dir(s.socket), 0o700); err != nil {
		t.Fatal(err)
	}
	s.client = lua.NewClient(s.socket)
	s.nginx = serverstest.Nginx(t, servers.NginxOptions{Binary: root.Nginx(), Dir: dir, Conf: s.conf(o), Files: o.files})
	return s
}

// put makes these the peers.
func (s *site) put(peers []live.Peer) {
	s.t.Helper()
	s.gen++
	s.putText(encode(s.gen, peers))
	s.peers = peers
}

// putText puts a message in.
func (s *site) putText(message []byte) {
	s.t.Helper()
	serverstest.Eventually(s.t, soon, func() error {
		err := s.client.Put(s.t.Context(), message)
		if refused := new(lua.Refused); err != nil && (!errors.As(err, &refused) || refused.Status != tookTooLong) {
			s.t.Fatal(err)
		}
		return err
	})
}

// tookTooLong is Nginx's answer to a change that it has not made: the machine stood still for the two seconds of its lock.
const tookTooLong = http.StatusConflict

func (s *site) state() lua.State {
	s.t.Helper()
	state, err := s.client.State(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return state
}

// busy sums up the requests under way, by slot.
func busy(state lua.State) map[int]int {
	sum := map[int]int{}
	for _, w := range state.Workers {
		for slot, n := range w.Busy["app"] {
			sum[slot] += n
		}
	}
	return sum
}

// idle waits until nothing is under way, and fails when a worker saw a fault.
func (s *site) idle() {
	s.t.Helper()
	serverstest.Eventually(s.t, soon, func() error {
		if b := busy(s.state()); len(b) > 0 {
			return fmt.Errorf("under way: %v", b)
		}
		return nil
	})
	s.noFault()
}

func (s *site) noFault() {
	s.t.Helper()
	for _, w := range s.state().Workers {
		if w.Error != "" {
			s.t.Errorf("worker %d: %s", w.PID, w.Error)
		}
	}
}

// fresh is a client without kept connections: with reuseport each request may reach any worker.
var fresh = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon}

// get is one GET; an answer that is not 200 is in the error and the status.
func (s *site) get(path string) (body string, status int) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), "GET", "http://"+s.addr+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.do(req)
}

func (s *site) do(req *http.Request) (body string, status int) {
	s.t.Helper()
	resp, err := fresh.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text), resp.StatusCode
}

// shares counts who answers n requests.
func (s *site) shares(path string, n int) map[string]int {
	s.t.Helper()
	shares := map[string]int{}
	for range n {
		body, status := s.get(path)
		if status != 200 {
			s.t.Fatalf("GET %s: %d %q", path, status, body)
		}
		shares[body]++
	}
	return shares
}

// reload makes Nginx read its configuration again, and waits until new workers serve and no others.
func (s *site) reload() {
	s.t.Helper()
	before := s.workers()
	if err := syscall.Kill(s.nginx.Master(), syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
	serverstest.Eventually(s.t, soon, func() error {
		var fresh bool
		for _, pid := range append(s.workers(), before...) { // the kernel's list may leave one out
			if title, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); !slices.Contains(before, pid) {
				fresh = true
			} else if len(title) > 0 && !strings.Contains(string(title), "shutting down") {
				return fmt.Errorf("worker %d still takes requests", pid)
			}
		}
		if !fresh {
			return errors.New("no new worker")
		}
		return nil
	})
}

// workers are the processes whose parent is the master.
func (s *site) workers() []int {
	var pids []int
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", s.nginx.Master()))
	for word := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.Atoi(word); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func addrPort(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }

// operatorsLine is the line for an operator's own log_by_lua, as the page gives it.
func operatorsLine(t testing.TB) string {
	text, err := os.ReadFile("../../../docs/live-lua.md")
	if err != nil {
		t.Fatal(err)
	}
	_, line, found := strings.Cut(string(text), "```lua\n")
	line, _, ended := strings.Cut(line, "\n```")
	if !found || !ended {
		t.Fatal("docs/live-lua.md has no ```lua block")
	}
	return line
}

// unixClient speaks with a server at a unix socket.
func unixClient(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
}
