package lbd

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/lbd/live"
	"github.com/bazbeans/bazbeans/lbd/live/lua"
	"github.com/bazbeans/bazbeans/lbd/live/names"
	"github.com/bazbeans/bazbeans/lbd/nginx"
)

// liveText is an output with a live upstream of these addresses.
func liveText(addrs ...string) string {
	u := live.Upstream{Name: "app"}
	var servers strings.Builder
	for i, a := range addrs {
		u.Peers = append(u.Peers, live.Peer{Slot: i, ID: "web" + string(rune('1'+i)), Addr: netip.MustParseAddrPort(a), Weight: 1})
		servers.WriteString("    server " + a + "; # a comment\n")
	}
	seed := live.Message{Upstreams: []live.Upstream{u}}.Encode()
	return "upstream app {\n    zone app 1m;\n" + servers.String() + lua.Balancer("app", "least_conn", string(seed)) + "    keepalive 32;\n}\n"
}

// Peers are no structure, and all else is: what changes that must not be taken for a live change.
func TestStructure(t *testing.T) {
	e := &liveEngine{kind: &luaKind{}}
	cut := func(text string) pieces {
		t.Helper()
		is, err := e.pieces([]nginx.File{{Path: "/a.conf", Data: []byte(text)}})
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	base := liveText("10.0.0.1:80", "10.0.0.2:80")
	is := cut(base)
	if len(is.upstreams) != 1 || len(is.upstreams[0].Peers) != 2 {
		t.Fatalf("%+v", is)
	}
	for name, text := range map[string]string{
		"other peers":    liveText("10.0.0.1:80", "10.0.0.3:80"),
		"fewer":          liveText("10.0.0.1:80"),
		"another layout": strings.ReplaceAll(base, "    server", "\tserver"),
	} {
		if got := cut(text); got.structure != is.structure || name != "another layout" && got.sum == is.sum {
			t.Errorf("%s: structure %s, want %s; sum %s, was %s", name, got.structure, is.structure, got.sum, is.sum)
		}
	}
	with := func(old, new string) string { return strings.Replace(base, old, new, 1) }
	other := "upstream other { server 10.0.0.9:80; }\n"
	for name, text := range map[string]string{
		"another zone":             with("1m", "4m"),
		"another method":           with("least_conn", "round_robin"),
		"no keepalive":             with("keepalive 32;", ""),
		"a block more":             base + "map $host $x { default 1; }\n",
		"an upstream not live":     base + other,
		"which has another server": base + strings.Replace(other, "10.0.0.9", "10.0.0.8", 1),
		"on a line of its own":     base + "upstream other {\n    server 10.0.0.7:80;\n}\n",
		"another there":            base + "upstream other {\n    server 10.0.0.6:80;\n}\n",
		"within a line":            base + "map $a $b { default 1; } upstream\tother\n{\n    server 10.0.0.5:80;\n}\n",
		"and another there":        base + "map $a $b { default 1; } upstream\tother\n{\n    server 10.0.0.4:80;\n}\n",
		"a server block":           base + "server { listen 1; }\n",
		"another server block":     base + "server { listen 2; }\n",
	} {
		got := cut(text)
		if got.structure == is.structure {
			t.Errorf("%s: the structure is the same", name)
		}
		for range 2 { // also when it was read before
			if again := cut(text); again.structure != got.structure {
				t.Errorf("%s: another structure when it is read again", name)
			}
		}
	}
	if a, b := cut(base+"upstream other {\n    server 10.0.0.7:80;\n}\n"), cut(base+"upstream other {\n    server 10.0.0.6:80;\n}\n"); a.structure == b.structure {
		t.Error("another server of an upstream that is not live is no change")
	}
}

// TestServersBesideLiveUpstreams: what is sent to a node by another way is not counted, and old workers have to be waited for.
func TestServersBesideLiveUpstreams(t *testing.T) {
	base := liveText("10.0.0.1:80", "[fd00::2]:80")
	for text, want := range map[string]bool{
		"": false,
		"server { listen 10.0.0.1:8080; location / { proxy_pass http://app; } }": false,
		"upstream canary { zone canary 1m; }":                                    false,
		"upstream canary { server unix:/run/web1.sock; }":                        true,
		"upstream canary {\n    server 10.0.0.9:80;\n}":                          true,
		"server { location / { proxy_pass http://10.0.0.1:80/x; } }":             true,
		"map $cookie_node $node { web2 '[fd00::2]:80'; }":                        true,
		"map $cookie_node $node { web3 10.0.0.3:80; }":                           false,
		"server { set_by_lua_block $node { return '10.0.0.1:80' } }":             true,
		"# 10.0.0.1:80": false,
	} {
		e := &liveEngine{kind: &luaKind{}}
		for range 2 { // also when it was read before
			is, err := e.pieces([]nginx.File{{Path: "/a.conf", Data: []byte(base + text + "\n")}})
			if err != nil || is.beside != want {
				t.Errorf("%q: beside %v, want %v (%v)", text, is.beside, want, err)
			}
			e.starts = map[string]time.Duration{"app": 0}
			if e.all(&Plan{}, is) == want {
				t.Errorf("%q: it counts as counted: %v", text, want)
			}
		}
	}
}

// TestStructureIsReadOnce: a change of servers must not wait for the Lua code to be read again, which takes milliseconds.
func TestStructureIsReadOnce(t *testing.T) {
	e := &liveEngine{kind: &luaKind{}}
	common := lua.Common(lua.Options{Socket: "/run/live.sock", Init: true})
	for _, addr := range []string{"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"} {
		if _, err := e.pieces([]nginx.File{{Path: "/a.conf", Data: []byte(common + liveText(addr))}}); err != nil {
			t.Fatal(err)
		}
	}
	if len(e.read) != 1 {
		t.Errorf("%d structures are known of one text with three sets, want 1", len(e.read))
	}
}

// TestNamesStructure: with names the one server line is structure, and lines beside it are a bridge.
func TestNamesStructure(t *testing.T) {
	k := &namesKind{addr: netip.MustParseAddrPort("127.0.0.1:9153")}
	e := &liveEngine{kind: k}
	u := live.Upstream{Name: "app", Peers: []live.Peer{{ID: "web1", Addr: netip.MustParseAddrPort("10.0.0.1:80"), Weight: 1}}}
	text := func(params string) []nginx.File {
		return []nginx.File{{Path: "/a.conf", Data: []byte("upstream app {\n    zone app 1m;\n    server " + names.Server("app") + params + ";\n" + names.Block(k.addr, u) + "\n}\n")}}
	}
	cut := func(files []nginx.File) pieces {
		t.Helper()
		is, err := e.pieces(files)
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	base := cut(text(""))
	if got := cut(text(" max_fails=7")); got.structure == base.structure {
		t.Error("another max_fails is no change of structure: Nginx would never have it")
	}
	bridge := k.bridge(text(""), nil)
	if bridge == nil || !strings.Contains(string(bridge[0].Data), "server 10.0.0.1:80 ") || !strings.Contains(string(bridge[0].Data), bridgeMark) {
		t.Fatalf("no bridge: %v", bridge)
	}
	if got := cut(bridge); got.structure == base.structure || got.sum != base.sum {
		t.Error("a bridge passes for what it leads to: its server lines would stay")
	}
	u.Peers[0].Addr = netip.MustParseAddrPort("10.0.0.2:80")
	if got := cut(text("")); got.structure != base.structure || got.sum == base.sum {
		t.Error("another peer is a change of structure, or none at all")
	}
}
