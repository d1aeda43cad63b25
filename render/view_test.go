package render_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/render"
	"github.com/bazbeans/bazbeans/step"
)

// view is NewView for servers that are all right.
func view(t testing.TB, u render.Upstream, servers []render.Server, seed string) render.View {
	t.Helper()
	v, err := render.NewView(u, servers, seed)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func ids(v render.View) []string {
	var list []string
	for _, n := range v.Nodes {
		list = append(list, n.ID)
	}
	return list
}

func TestOrderWherePlacesDoNotMatter(t *testing.T) {
	for _, balance := range []string{"round_robin", "least_conn", "random two"} {
		u := upstream(t, balance)
		one, two := ids(view(t, u, nodes(50), "lb1")), ids(view(t, u, nodes(50), "lb2"))
		if slices.IsSorted(one) || slices.Equal(one, two) {
			t.Errorf("%s: want an order of its own for each load balancer:\n%v\n%v", balance, one, two)
		}
		// A node more or less leaves the others in their order.
		fewer := slices.Delete(nodes(50), 20, 21)
		without := slices.DeleteFunc(slices.Clone(one), func(id string) bool { return id == "dc1_server021" })
		if got := ids(view(t, u, fewer, "lb1")); !slices.Equal(got, without) {
			t.Errorf("%s: one node less: %v, want %v", balance, got, without)
		}
	}
}

func TestOrderWherePlacesMatter(t *testing.T) {
	for _, balance := range []string{"ip_hash", "hash $uri", "hash $uri consistent"} {
		servers := nodes(50)
		slices.Reverse(servers)
		if got := ids(view(t, upstream(t, balance), servers, "lb1")); !slices.IsSorted(got) {
			t.Errorf("%s: %v, want the order of the ids", balance, got)
		}
	}
}

func TestPlaceholder(t *testing.T) {
	u := upstream(t, "least_conn")
	u.Fallback = []netip.AddrPort{netip.MustParseAddrPort("10.9.0.1:80")}
	zero := node("a", "10.0.0.1:80")
	zero.Weight = 0
	for _, c := range []struct {
		servers []render.Server
		want    []string
	}{
		{nil, []string{"127.0.0.1:9 down", "10.9.0.1:80 backup"}},
		{[]render.Server{zero}, []string{"10.0.0.1:80 down", "127.0.0.1:9 down", "10.9.0.1:80 backup"}},
		{[]render.Server{node("a", "10.0.0.1:80")}, []string{"10.0.0.1:80", "10.9.0.1:80 backup"}},
	} {
		v := view(t, u, c.servers, "")
		var got []string
		for _, s := range v.Servers {
			got = append(got, s.Addr+s.Params)
		}
		if !slices.Equal(got, c.want) || len(v.Nodes) != len(c.servers) || v.Placeholder != (len(got) > 2 || len(c.servers) == 0) {
			t.Errorf("servers %v, nodes %v, placeholder %v; want %v", got, v.Nodes, v.Placeholder, c.want)
		}
	}
}

func TestLine(t *testing.T) {
	s := node("a", "[::ffff:10.0.0.1]:8000")
	s.Weight, s.Labels = 7, map[string]render.Text{"zone": "b", "none": ""}
	six := node("b", "[2001:db8::1]:80")
	v := view(t, upstream(t, "ip_hash"), []render.Server{s, six}, "")
	a, b := v.Nodes[0], v.Nodes[1]
	if a.Addr != "10.0.0.1:8000" || a.Host != "10.0.0.1" || a.Port != 8000 || a.Params != " weight=7" {
		t.Errorf("IPv4: %+v", a)
	}
	if b.Addr != "[2001:db8::1]:80" || b.Host != "[2001:db8::1]" || b.Port != 80 || b.Params != "" {
		t.Errorf("IPv6: %+v", b)
	}
	if got := []render.Text{a.Label("zone"), a.Label("none", "x"), a.Label("rack", "x"), a.Label("rack"), b.Label("zone", "x")}; !slices.Equal(got,
		[]render.Text{"b", "", "x", "", "x"}) {
		t.Errorf("labels: %q", got)
	}
}

func TestZoneSize(t *testing.T) {
	for n, want := range map[int]string{1: "256k", 128: "256k", 129: "1m", 512: "1m", 513: "4m", 2048: "4m", 10000: "64m"} {
		if got := view(t, upstream(t, "least_conn"), nodes(n), "").ZoneSize; got != want {
			t.Errorf("%d servers: %s, want %s", n, got, want)
		}
	}
}

// What the door should have refused is refused here too, as a whole: then the last good file stays.
func TestNewViewRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*render.Server)
		want   string
	}{
		"no id":             {func(s *render.Server) { s.ID = "" }, "is not allowed"},
		"id with a newline": {func(s *render.Server) { s.ID = "a\nserver 6.6.6.6:80;" }, "is not allowed"},
		"id at a newline":   {func(s *render.Server) { s.ID = "a\n" }, "is not allowed"},
		"id too long":       {func(s *render.Server) { s.ID = strings.Repeat("a", 129) }, "is not allowed"},
		"same id":           {func(s *render.Server) { s.ID = "dc1_server001" }, "node dc1_server001 is there twice"},
		"no address":        {func(s *render.Server) { s.Addr = netip.AddrPort{} }, "node a: address"},
		"no port":           {func(s *render.Server) { s.Addr = netip.AddrPortFrom(s.Addr.Addr(), 0) }, "node a: address"},
		"a zone":            {func(s *render.Server) { s.Addr = netip.MustParseAddrPort("[fe80::1%eth0;]:80") }, "node a: address"},
		"unspecified":       {func(s *render.Server) { s.Addr = netip.MustParseAddrPort("[::ffff:0.0.0.0]:80") }, "node a: address"},
		"weight below zero": {func(s *render.Server) { s.Weight = -1 }, "node a: weight -1"},
		"weight too large":  {func(s *render.Server) { s.Weight = 1001 }, "node a: weight 1001"},
		"label name":        {func(s *render.Server) { s.Labels = map[string]render.Text{"a;b": "x"} }, `label name "a;b"`},
	} {
		bad := node("a", "10.1.0.1:80")
		c.change(&bad)
		_, err := render.NewView(upstream(t, "least_conn"), append(nodes(2), bad), "lb1")
		if err == nil || !strings.Contains(err.Error(), c.want) || step.Of(err) != step.Render {
			t.Errorf("%s: %v, want %q at step render", name, err, c.want)
		}
	}
	if _, err := render.NewView(render.Upstream{Name: "a;b"}, nil, "lb1"); step.Of(err) != step.Render {
		t.Errorf("bad upstream: %v, want an error at step render", err)
	}
}
