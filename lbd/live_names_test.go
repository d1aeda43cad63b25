package lbd

import (
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/lbd/live"
)

// What a former lbd told Nginx is known to the next one as long as there are connections, and is a peer of nobody.
func TestPeersOfAFormerLBD(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolve.peers")
	peer := live.Peer{ID: "web1", Addr: netip.MustParseAddrPort("10.0.0.1:8000"), Weight: 1, MaxFails: 1, FailTimeout: 10 * time.Second}
	former := live.Message{Generation: 7, Sum: "ab", Upstreams: []live.Upstream{{Name: "app_backend", Peers: []live.Peer{peer}}, {Name: "other", Peers: []live.Peer{peer}}}}
	if err := writeState(path, former.Encode()); err != nil {
		t.Fatal(err)
	}
	k := &namesKind{addr: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(serverstest.Ports(t, 1)[0])), log: silent, path: path}
	if err := k.start(); err != nil {
		t.Fatal(err)
	}
	defer k.close()
	m, ok, err := k.Current(t.Context())
	if err != nil || !ok || len(m.Upstreams) != 2 || m.Generation != 0 || m.Sum != "" {
		t.Fatalf("%+v, %v, %v", m, ok, err)
	}
	var s slots
	s.adopt(m)
	now := time.Now()
	busy := map[live.Key]int{peer.Key("other"): 1}
	for range 2 {
		for _, u := range s.place(nil, nil, now) {
			for _, p := range u.Peers {
				if !p.Gone {
					t.Errorf("%s of %s is a peer", p.ID, u.Name)
				}
			}
		}
		s.idle(busy, now)
		now = now.Add(2 * slotRest)
		s.idle(busy, now)
	}
	if s.upstreams["app_backend"] != nil || s.upstreams["other"] == nil {
		t.Errorf("known: %v", s.upstreams)
	}
}
