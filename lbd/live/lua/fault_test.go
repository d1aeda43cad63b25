package lua_test

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/lbd/live"
	"github.com/bazbeans/bazbeans/lbd/live/lua"
)

// TestFaultsFallBack: whatever breaks inside, the last good set serves, or Nginx's own server lines; no request fails,
// the state says so, and a new message heals it.
func TestFaultsFallBack(t *testing.T) {
	const breaks = `location = /break { content_by_lua_block {
		local d = ngx.shared.bazbeans_1
		local k = ngx.var.arg_k
		local m = d:get("m") + 1
		if k == "content" then d:set("m" .. m, "bazbeans 1 9 x\nrubbish") d:set("m", m) elseif
		   k == "type" then d:set("m" .. m, true) d:set("m", m) elseif
		   k == "gone" then d:set("m", m) elseif
		   k == "number" then d:set("m", "x") elseif
		   k == "empty" then d:flush_all() d:flush_expired() elseif
		   k == "counts" then for _, key in ipairs(d:get_keys(0)) do if key:find("^c") then d:set(key, 5) end end elseif
		   k == "code" then package.loaded["bazbeans.live"].upstreams.app.primary.address = nil elseif
		   k == "pick" then package.loaded["bazbeans.live"].upstreams.app.pick = function() error({}) end end
		d:incr("v", 1, 0)
		ngx.say("broken") } }
		location / { proxy_pass http://app; }`
	each(t, func(t *testing.T, suite string) {
		for _, k := range strings.Fields("content type gone number empty counts code pick") {
			t.Run(k, func(t *testing.T) {
				nodes := newNodes(t, 3)
				s := newSite(t, peersOf(nodes), siteOptions{suite: suite, server: breaks, workers: 1, method: "least_conn"})
				s.put(peersOf(nodes)[1:])
				s.shares("/", 4)
				s.get("/break?k=" + k)
				s.state() // whoever answers tells all workers of the new v
				got := s.shares("/", 9)
				static := map[string]int{"n0": 3, "n1": 3, "n2": 3}
				fault := ""
				for _, w := range s.state().Workers {
					fault += w.Error
				}
				switch k {
				case "empty": // the last good set is no worse for it
					if got["n0"] != 0 || fault != "" {
						t.Errorf("%v, %q", got, fault)
					}
				case "counts": // others' only, and there are none
					if got["n0"] != 0 {
						t.Errorf("%v, %q", got, fault)
					}
				default:
					program := k == "code" || k == "pick"
					if program && !reflect.DeepEqual(got, static) || !program && got["n0"] > 0 || fault == "" {
						t.Errorf("with a fault: %v, state %q; want Nginx's own lines where the program is broken, else the last good set", got, fault)
					}
					if n := strings.Count(s.log(), "bazbeans: "); n != 1 {
						t.Errorf("the fault was logged %d times in no time, want once:\n%s", n, s.log())
					}
				}
				if k == "pick" { // only a restart of the worker heals a broken program
					return
				}
				more := append(peersOf(nodes)[1:], live.Peer{Slot: 8, Addr: addrPort("127.0.0.1:9"), Weight: 1, Down: true})
				s.put(more)
				if got, want := s.shares("/", 8), map[string]int{"n1": 4, "n2": 4}; !reflect.DeepEqual(got, want) {
					t.Errorf("after the next message: %v, want %v", got, want)
				}
				s.idle()
			})
		}
	})
}

// TestAnOverlargeRing: the one upstream whose ring would be too large goes by Nginx's own lines.
func TestAnOverlargeRing(t *testing.T) {
	nodes := newNodes(t, 2)
	s := newSite(t, peersOf(nodes), siteOptions{method: "hash $request_uri consistent", workers: 1})
	s.put(weigh(peersOf(nodes), 65535, 65535))
	s.shares("/", 4)
	if state := s.state(); len(state.Workers) != 1 || !strings.Contains(state.Workers[0].Error, "too large") {
		t.Errorf("state %v", state)
	}
	s.put(peersOf(nodes))
	s.shares("/", 4)
	s.idle()
}

// TestStrictGlobals: Lua of the operator's that forbids globals which nobody has declared, as strict.lua does.
func TestStrictGlobals(t *testing.T) {
	each(t, func(t *testing.T, suite string) {
		nodes := newNodes(t, 3)
		s := newSite(t, peersOf(nodes), siteOptions{suite: suite, noInit: true, http: `init_by_lua_block {
setmetatable(_G, {
    __index = function(_, name) error("variable '" .. name .. "' is not declared", 2) end,
    __newindex = function(_, name) error("assign to undeclared variable '" .. name .. "'", 2) end,
})
}`})
		s.shares("/", 10)
		s.put(peersOf(nodes)[1:])
		if got := s.shares("/", 10); got["n0"] != 0 {
			t.Errorf("%v", got)
		}
		s.idle()
		if text, err := os.ReadFile(filepath.Join(s.nginx.Prefix, "error.log")); err != nil || bytes.Contains(text, []byte("declared")) {
			t.Errorf("%v, log: %s", err, text)
		}
	})
}

// TestWithoutCodeCache: every request then has a Lua of its own; they are served all the same.
func TestWithoutCodeCache(t *testing.T) {
	each(t, func(t *testing.T, suite string) {
		nodes := newNodes(t, 3)
		s := newSite(t, peersOf(nodes), siteOptions{suite: suite, http: "lua_code_cache off;"})
		s.put(peersOf(nodes)[1:])
		if got := s.shares("/", 10); got["n0"] != 0 {
			t.Errorf("%v", got)
		}
		s.idle()
	})
}

// TestStrip: what is left does not depend on the peers, and the peers come back.
func TestStrip(t *testing.T) {
	peers := peersOf(newNodes(t, 3))
	for len(peers) < 400 {
		p := peers[0]
		p.Slot = len(peers)
		peers = append(peers, p)
	}
	text := func(method string, a, b []live.Peer) []byte {
		return []byte("x\n" + lua.Common(lua.Options{Socket: "/s", Init: true}) + "upstream app {\n" + lua.Balancer("app", method, string(encode(0, a))) +
			"}\nupstream b {\n" + lua.Balancer("b", method, string(encode(0, b))) + "}\n")
	}
	one, upstreams, err := lua.Strip(text("ip_hash", peers, peers[:1]))
	if err != nil {
		t.Fatal(err)
	}
	if len(upstreams) != 2 || !reflect.DeepEqual(upstreams[0].Peers, peers) || !reflect.DeepEqual(upstreams[1].Peers, peers[:1]) {
		t.Errorf("the seeds came back as %v", upstreams)
	}
	other, _, _ := lua.Strip(text("ip_hash", nil, peers[:2]))
	if !bytes.Equal(one, other) || bytes.Contains(one, []byte("peer 0")) {
		t.Errorf("the rest depends on the peers:\n%s\n%s", one, other)
	}
	if different, _, _ := lua.Strip(text("least_conn", peers, peers)); bytes.Equal(one, different) {
		t.Error("the rest does not tell methods apart")
	}
	for _, bad := range []string{"-- seed\n", "-- seed\nx\n-- end of seed\n"} {
		if _, _, err := lua.Strip([]byte(bad)); err == nil {
			t.Errorf("%q has no seed, and is taken", bad)
		}
	}
}
