package resolvers

import (
	"context"
	"net/netip"
	"testing"

	"github.com/bazbeans/bazbeans/pool"
)

type ips map[string]string

func (m ips) NodeIPs(_ context.Context, ids []string) (map[string]string, error) {
	got := map[string]string{}
	for _, id := range ids {
		if ip, ok := m[id]; ok {
			got[id] = ip
		}
	}
	return got, nil
}

func TestRedis(t *testing.T) {
	ours := pool.Node{ID: "ours", Agent: "1.0", Address: netip.MustParseAddr("10.0.0.1")}
	r := NewRedis(ips{"ours": "10.6.6.6", "py": "10.0.0.2", "bad": "unix:/var/run/docker.sock", "dns": "localhost", "old": "010.0.0.1"})
	got, err := r.Resolve(t.Context(), append(nodes("py", "bad", "dns", "old", "none"), ours))
	if err != nil {
		t.Fatal(err)
	}
	if got["ours"].Addr != ours.Address || got["py"].Addr.String() != "10.0.0.2" {
		t.Errorf("%+v", got)
	}
	for _, id := range []string{"bad", "dns", "old"} {
		if !IsRefused(got[id].Err) {
			t.Errorf("%s: %+v", id, got[id])
		}
	}
	if _, ok := got["none"]; ok || len(got) != 5 {
		t.Errorf("%+v", got)
	}
}
