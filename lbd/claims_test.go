package lbd

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/render"
	"github.com/bazbeans/bazbeans/resolvers"
)

func claimant(id, instance string, frozen bool) fact {
	n := pool.Node{ID: id, Agent: "1", Instance: instance, Active: !frozen, Alive: true, Weight: 1, Port: 80}
	if frozen {
		n.Freeze = &pool.Freeze{}
	}
	return fact{Node: n, where: resolvers.Resolution{Endpoint: resolvers.Endpoint{Addr: netip.MustParseAddr("10.0.0.1")}}}
}

func python(id string) fact {
	f := claimant(id, "", false)
	f.Agent = ""
	return f
}

// unwell is a node that froze itself.
func unwell(id string) fact {
	f := claimant(id, "5/h", false)
	f.Active, f.IsFrozen = false, true
	return f
}

func TestOneAddressIsOneNodes(t *testing.T) {
	at := netip.MustParseAddrPort("10.0.0.1:80")
	for _, c := range []struct {
		name   string
		nodes  []fact
		served string // the id that is served there now
		before string // the id that was served there before
		owner  string
		want   string // "" for none
	}{
		{"a thief without an instance", []fact{claimant("a-thief", "", false), claimant("b", "5/h", false)}, "", "", "b", "b"},
		{"a thief who says he was the first", []fact{claimant("a-thief", "-1/h", false), claimant("b", "5/h", false)}, "", "", "b", "b"},
		{"nobody steps into the place of one that is not well", []fact{claimant("thief", "1/h", false), unwell("web1")}, "", "web1", "web1", ""},
		{"also when nobody remembers", []fact{claimant("evil", "1/x", false), unwell("web1")}, "", "", "web1", ""},
		{"alone", []fact{claimant("a", "5/h", false)}, "", "", "a", "a"},
		{"the elder", []fact{claimant("a", "9/h", false), claimant("b", "5/h", false)}, "", "", "b", "b"},
		{"the one that is served", []fact{claimant("a", "5/h", false), claimant("b", "9/h", false)}, "b", "", "b", "b"},
		{"python leaves no mark and is the elder", []fact{claimant("a", "5/h", false), python("p")}, "", "", "p", "p"},
		{"by id when nothing else tells", []fact{claimant("a", "5/h", false), claimant("b", "5/h", false)}, "", "", "a", "a"},
		{"nobody steps into a frozen node's place", []fact{claimant("thief", "9/h", false), claimant("web1", "5/h", true)}, "", "", "web1", ""},
	} {
		u := &upstream{UpstreamConfig: defaultUpstream()}
		if c.served != "" {
			u.history.add(noon, guardDefaults.Window, []render.Server{{ID: c.served, Addr: at, Weight: 1}})
		}
		if c.before != "" {
			u.placed([]render.Server{{ID: c.before, Addr: at}})
		}
		f := &facts{nodes: c.nodes}
		if got := u.owners(f)[at]; got != c.owner {
			t.Errorf("%s: it is %s's, want %s", c.name, got, c.owner)
		}
		want, refused := u.want(f, &listeners{}, map[string]uint16{})
		got := ""
		for _, s := range want {
			got += s.ID
		}
		wanted := 0
		for i := range c.nodes {
			if c.nodes[i].wanted() {
				wanted++
			}
		}
		if got != c.want || len(want)+len(refused) != wanted {
			t.Errorf("%s: serves %q, refuses %v", c.name, got, refused)
		}
	}
}

// A flood of registrations takes no node's place.
func TestOverflow(t *testing.T) {
	u := &upstream{UpstreamConfig: defaultUpstream()}
	u.MaxNodes = 4
	var f facts
	node := func(id, instance string) {
		n := pool.Node{ID: id, Agent: "1", Instance: instance, Active: true, Alive: true, Weight: 1, Port: 80}
		at := netip.AddrFrom4([4]byte{10, 0, 0, byte(len(f.nodes) + 1)})
		f.nodes = append(f.nodes, fact{Node: n, where: resolvers.Resolution{Endpoint: resolvers.Endpoint{Addr: at}}})
	}
	node("a-flood1", "1/x")
	node("a-flood2", "9/x")
	node("served1", "5/h")
	node("served2", "6/h")
	node("served-before", "8/h")
	node("web-elder", "3/h")
	at := func(id string) render.Server {
		for _, n := range f.nodes {
			if n.ID == id {
				return render.Server{ID: id, Weight: 1, Addr: netip.AddrPortFrom(n.where.Addr, 80)}
			}
		}
		t.Fatalf("no node %s", id)
		return render.Server{}
	}
	check := func(want string) {
		t.Helper()
		servers, refused := u.want(&f, &listeners{}, map[string]uint16{})
		got := ""
		for _, s := range servers {
			got += s.ID + " "
		}
		if got != want || len(servers)+len(refused) != len(f.nodes) || !strings.Contains(refused["a-flood2"], "max_nodes 4") {
			t.Errorf("serves %s, refuses %v, want %s", got, refused, want)
		}
	}
	check("a-flood1 served1 served2 web-elder ") // nobody was served yet: the elders
	u.placed([]render.Server{at("served-before")})
	u.history.add(noon, guardDefaults.Window, []render.Server{at("served1"), at("served2")})
	u.placed([]render.Server{at("served1"), at("served2")})
	check("served1 served2 served-before ") // nobody new
	u.MaxNodes = 2
	check2 := u.overflow(&f, []render.Server{at("served-before"), at("served1"), at("served2")})
	if len(check2) != 1 || check2[0] != "served-before" {
		t.Errorf("of those that were served %v have to go", check2)
	}
}
