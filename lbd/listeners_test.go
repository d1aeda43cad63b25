package lbd

import (
	"net"
	"net/netip"
	"os"
	"testing"
)

func TestListeners(t *testing.T) {
	one, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	all, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	port := func(ln net.Listener) uint16 { return uint16(ln.Addr().(*net.TCPAddr).Port) }

	l := listeners{another: make(chan struct{}, 1)}
	l.is(0) // Nginx has gone, and is back before anybody looked
	if l.is(999); l.master.Load() != 999 {
		t.Errorf("the watch goes on with master %d", l.master.Load())
	}
	l.look(os.Getpid())
	l.add(netip.MustParseAddrPort("127.0.0.9:9180"))
	l.add(netip.MustParseAddrPort("[::]:9181"))
	for _, c := range []struct {
		addr string
		port uint16
		own  bool
	}{
		{"127.0.0.1", port(one), true},
		{"127.0.0.2", port(one), false}, // another address of this host, where a node may well be
		{"127.0.0.1", port(all), true},
		{"127.0.1.7", port(all), true},
		{"::1", port(all), true},
		{"10.99.0.1", port(all), false},
		{"127.0.0.1", 1, false},
		{"127.0.0.9", 9180, true}, // lbd's
		{"127.0.0.1", 9180, false},
		{"127.0.0.1", 9181, true}, // at every address of this host
		{hostAddr(t), 9181, true},
		{hostAddr(t), 9180, false},
	} {
		if err := l.check(netip.AddrPortFrom(netip.MustParseAddr(c.addr), c.port)); (err != nil) != c.own {
			t.Errorf("%s:%d: %v", c.addr, c.port, err)
		}
	}
}

// hostAddr is an address of this host other than loopback, or else loopback.
func hostAddr(t *testing.T) string {
	for _, a := range localAddrs() {
		if !a.IsLoopback() && a.Zone() == "" {
			return a.String()
		}
	}
	t.Log("this host has loopback addresses only")
	return "127.0.0.1"
}
