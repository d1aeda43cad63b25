package resolvers

import (
	"net/netip"
	"testing"
)

func TestDoor(t *testing.T) {
	nets, err := ParseNetworks([]string{"127.0.1.0/24", "fe80::/10", "10.0.0.7"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		addr         string
		open, listed bool
	}{
		{"10.0.0.7", true, true}, {"10.0.0.8", true, false}, {"fd00::1", true, false}, {"8.8.8.8", true, false},
		{"127.0.0.1", false, false}, {"127.0.1.5", false, true}, {"::1", false, false}, {"::ffff:127.0.1.5", false, true},
		{"169.254.169.254", false, false}, {"fe80::1", false, true}, {"fe80::1%eth0", false, false},
		{"0.0.0.0", false, false}, {"::", false, false}, {"224.0.0.1", false, false}, {"ff02::1", false, false}, {"255.255.255.255", false, false},
	} {
		a := netip.MustParseAddr(c.addr)
		if err := (Door{}).Check(a); (err == nil) != c.open || err != nil && !IsRefused(err) {
			t.Errorf("%s, no list: %v", c.addr, err)
		}
		if err := (Door{Networks: nets}).Check(a); (err == nil) != c.listed {
			t.Errorf("%s, listed: %v", c.addr, err)
		}
	}
	for _, bad := range []string{"10.0.0.0/33", "x", "fe80::1%eth0"} {
		if _, err := ParseNetworks([]string{bad}); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

func TestDoorBoundsWeights(t *testing.T) {
	a := netip.MustParseAddr("10.0.0.1")
	for weight, ok := range map[int]bool{-1: false, 0: true, 1: true, 1000: true, 1001: false, 65535: false} {
		if err := (Door{}).Pass(Endpoint{Addr: a, Weight: weight}); (err == nil) != ok || err != nil && !IsRefused(err) {
			t.Errorf("weight %d: %v", weight, err)
		}
	}
}
