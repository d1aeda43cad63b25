package render_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/render"
)

var update = flag.Bool("update", false, "write the golden files in testdata")

// upstream is an upstream as the config makes it when only name and balance are given.
func upstream(t testing.TB, balance string) render.Upstream {
	t.Helper()
	b, err := render.ParseBalance(balance)
	if err != nil {
		t.Fatal(err)
	}
	return render.Upstream{
		Name: "app_backend", Balance: b, Keepalive: 32,
		Server: render.ServerParams{MaxFails: 1, FailTimeout: 10 * time.Second},
	}
}

// node is a server of weight 1.
func node(id, addr string) render.Server {
	return render.Server{ID: id, Addr: netip.MustParseAddrPort(addr), Weight: 1}
}

func nodes(n int) []render.Server {
	list := make([]render.Server, n)
	for i := range list {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 8000)
		list[i] = render.Server{ID: fmt.Sprintf("dc1_server%03d", i+1), Addr: addr, Weight: 1, DataCenter: "dc1"}
	}
	return list
}

// text renders with the built-in templates.
func text(t testing.TB, u render.Upstream, servers []render.Server) []byte {
	t.Helper()
	set, err := render.Load("", nil)
	if err != nil {
		t.Fatal(err)
	}
	view, err := render.NewView(u, servers, "lb1")
	if err != nil {
		t.Fatal(err)
	}
	out, err := set.Render(view)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestGolden holds what the shipped template writes against testdata, and has the real nginx read each file.
func TestGolden(t *testing.T) {
	frozen := func(list []render.Server, at ...int) []render.Server {
		for _, i := range at {
			list[i].Down = true
		}
		return list
	}
	weighted := nodes(4)
	weighted[0].Weight, weighted[1].Weight, weighted[2].Weight, weighted[3].Weight = 0, 1, 5, 1000
	fallback := upstream(t, "least_conn")
	fallback.Fallback = []netip.AddrPort{netip.MustParseAddrPort("10.9.0.1:8080"), netip.MustParseAddrPort("[fd00::9]:8080")}
	params := upstream(t, "round_robin")
	params.Keepalive = 0
	params.Server = render.ServerParams{MaxFails: 0, FailTimeout: 90 * time.Second, MaxConns: 200}
	zero := params
	zero.Server.FailTimeout = 0

	for name, c := range map[string]struct {
		upstream render.Upstream
		servers  []render.Server
	}{
		"none":             {upstream(t, "least_conn"), nil},
		"one":              {upstream(t, "least_conn"), nodes(1)},
		"three":            {upstream(t, "least_conn"), nodes(3)},
		"all-down":         {upstream(t, "ip_hash"), frozen(nodes(2), 0, 1)},
		"ipv6":             {upstream(t, "least_conn"), []render.Server{node("v6", "[2001:db8::10]:8000"), node("mapped", "[::ffff:10.0.0.1]:8000")}},
		"weights":          {upstream(t, "least_conn"), weighted},
		"params":           {params, nodes(2)},
		"no-fail-timeout":  {zero, nodes(1)},
		"fallback":         {fallback, nodes(2)},
		"fallback-only":    {fallback, nil},
		"round-robin":      {upstream(t, "round_robin"), nodes(3)},
		"random":           {upstream(t, "random"), nodes(3)},
		"random-two":       {upstream(t, "random two"), nodes(3)},
		"random-two-least": {upstream(t, "random two least_conn"), nodes(3)},
		"ip-hash":          {upstream(t, "ip_hash"), nodes(3)},
		"hash":             {upstream(t, "hash $request_uri"), nodes(3)},
		"hash-frozen":      {upstream(t, "hash $cookie_user$request_uri consistent"), frozen(nodes(3), 1)},
		"many":             {upstream(t, "least_conn"), nodes(500)},
		"odd-ids": {upstream(t, "ip_hash"), []render.Server{node("0", "10.0.0.1:1"), node("a..b--_", "10.0.0.2:65535"),
			node("include", "10.0.0.3:80"), node("UPPER.lower-1_2", "10.0.0.4:80"), node("x"+strings.Repeat("y", 127), "10.0.0.5:80")}},
	} {
		t.Run(name, func(t *testing.T) {
			got := text(t, c.upstream, c.servers)
			path := filepath.Join("testdata", name+".conf")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("%v (go test ./render -update writes it)", err)
			}
			if string(got) != string(want) {
				t.Errorf("rendered:\n%s\nwant %s:\n%s", got, path, want)
			}
			nginxTest(t, got)
		})
	}
}
