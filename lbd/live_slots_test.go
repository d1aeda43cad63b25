package lbd

import (
	"net/netip"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/lbd/live"
)

func livePeer(id, addr string) live.Peer {
	return live.Peer{ID: id, Addr: netip.MustParseAddrPort(addr), Weight: 1}
}

// slotsOf are the slots in what is to be pushed, by id and whether the peer is gone.
func slotsOf(list []live.Upstream) map[string]int {
	all := map[string]int{}
	for _, u := range list {
		for _, p := range u.Peers {
			name := p.ID + "@" + p.Addr.String()
			if p.Gone {
				name += " gone"
			}
			all[name] = p.Slot
		}
	}
	return all
}

// A slot is its peer's until nothing is under way on it, and then for a second more.
func TestSlots(t *testing.T) {
	var s slots
	now := time.Unix(1_000_000, 0)
	a, b, c := livePeer("a", "10.0.0.1:80"), livePeer("b", "10.0.0.2:80"), livePeer("c", "10.0.0.3:80")
	put := func(peers ...live.Peer) map[string]int {
		return slotsOf(s.place([]live.Upstream{{Name: "app", Peers: peers}}, nil, now))
	}
	first := put(a, b)
	if len(first) != 2 || first["a@10.0.0.1:80"] == first["b@10.0.0.2:80"] {
		t.Fatalf("%v", first)
	}
	slotA := first["a@10.0.0.1:80"]
	busy := map[live.Key]int{a.Key("app"): 1}
	next := put(b, c)
	if next["a@10.0.0.1:80 gone"] != slotA || next["c@10.0.0.3:80"] == slotA || next["b@10.0.0.2:80"] != first["b@10.0.0.2:80"] {
		t.Fatalf("%v after %v", next, first)
	}
	for range 3 { // as long as it is busy
		s.idle(busy, now)
		now = now.Add(time.Hour)
	}
	moved := a
	moved.Addr = netip.MustParseAddrPort("10.0.0.9:80")
	if next = put(b, c, moved); next["a@10.0.0.9:80"] == slotA || next["a@10.0.0.1:80 gone"] != slotA {
		t.Fatalf("a node that moves is another peer: %v", next)
	}
	s.idle(nil, now)
	if next = put(b, c, moved); next["a@10.0.0.1:80 gone"] != slotA {
		t.Fatalf("the slot is given back at once: %v", next)
	}
	now = now.Add(slotRest + time.Millisecond)
	s.idle(nil, now)
	next = put(b, c, moved, livePeer("d", "10.0.0.4:80"))
	if _, there := next["a@10.0.0.1:80 gone"]; there || next["d@10.0.0.4:80"] != slotA {
		t.Fatalf("the slot is not given back: %v", next)
	}

	// Another lbd takes over what Nginx goes by.
	var other slots
	other.adopt(live.Message{Upstreams: s.place([]live.Upstream{{Name: "app", Peers: []live.Peer{b, c}}}, nil, now)})
	if got := slotsOf(other.place([]live.Upstream{{Name: "app", Peers: []live.Peer{c, b}}}, nil, now)); got["b@10.0.0.2:80"] != next["b@10.0.0.2:80"] || got["c@10.0.0.3:80"] != next["c@10.0.0.3:80"] || len(got) != 4 {
		t.Fatalf("%v, want the slots of %v", got, next)
	}

	// An upstream that lbd has no more may be in Nginx all the same: it stays as it was.
	other.idle(nil, now)
	other.idle(nil, now.Add(2*slotRest))
	former := other.place(nil, nil, now)
	if got := slotsOf(former); len(former) != 1 || !former[0].Former || got["b@10.0.0.2:80"] != next["b@10.0.0.2:80"] || got["c@10.0.0.3:80"] != next["c@10.0.0.3:80"] {
		t.Fatalf("%+v", former)
	}
}

// Slow starts begin when a peer comes in, or gets traffic again; not for those that Nginx began with.
func TestSlowStarts(t *testing.T) {
	s := slots{fresh: true}
	now := time.Unix(1_000_000, 500)
	starts := map[string]time.Duration{"app": 30 * time.Second}
	since := func(peers ...live.Peer) map[string]time.Time {
		all := map[string]time.Time{}
		for _, p := range s.place([]live.Upstream{{Name: "app", Peers: peers}}, starts, now)[0].Peers {
			all[p.ID] = p.Since
		}
		return all
	}
	a, b := livePeer("a", "10.0.0.1:80"), livePeer("b", "10.0.0.2:80")
	if got := since(a); !got["a"].IsZero() {
		t.Errorf("at Nginx's start: %v", got)
	}
	now = now.Add(time.Minute)
	if got := since(a, b); !got["a"].IsZero() || got["b"].Unix() != now.Unix() {
		t.Errorf("a newcomer: %v", got)
	}
	came := now
	now = now.Add(time.Minute)
	if got := since(a, b); got["b"].Unix() != came.Unix() {
		t.Errorf("a minute later: %v", got)
	}
	since(b)
	if got := since(a, b); got["a"].Unix() != now.Unix() || got["b"].Unix() != came.Unix() {
		t.Errorf("one that was away: %v", got)
	}
	a.Down = true
	since(a, b)
	a.Down = false
	now = now.Add(time.Minute)
	if got := since(a, b); got["a"].Unix() != now.Unix() {
		t.Errorf("one that was down: %v", got)
	}
}
