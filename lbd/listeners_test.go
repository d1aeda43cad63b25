package lbd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
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
	l.unknown = func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	l.look(t.Context(), os.Getpid())
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

// Where Nginx's sockets can't be seen what its configuration says holds, and where that can't be read it is said, once.
func TestListenersOfAnNginxThatCantBeSeen(t *testing.T) {
	var log strings.Builder
	lb := &LB{log: slog.New(slog.NewTextHandler(&log, nil))}
	said := errors.New("read /etc/nginx/nginx.conf: permission denied")
	l := &lb.own
	l.unknown = lb.blindToListeners
	l.configured = func(context.Context) ([]netip.AddrPort, error) {
		return []netip.AddrPort{netip.MustParseAddrPort("127.0.0.9:81")}, said
	}
	at := netip.MustParseAddrPort("127.0.0.9:81")
	for range 3 {
		l.look(t.Context(), 0)
	}
	if err := l.check(at); err != nil || strings.Count(log.String(), "permission denied") != 1 {
		t.Errorf("%v, and said: %s", err, log.String())
	}
	said = nil
	if l.look(t.Context(), 0); l.check(at) == nil {
		t.Errorf("%s is not refused", at)
	}
	l.sayUnseen = lb.sayUnseen
	for range 2 {
		l.look(t.Context(), 1<<30) // no process has this number
	}
	if strings.Count(log.String(), "read off its configuration") != 1 {
		t.Errorf("said: %s", log.String())
	}
}

// What lbd itself listens at is known as soon as there is a config, for once, check and render, too.
func TestOwnListenersOfAConfig(t *testing.T) {
	at := func(change func(*Config), text string) error {
		cfg := DefaultConfig()
		cfg.ID, cfg.StateDir = "lb1", t.TempDir()
		change(&cfg)
		l, err := New(cfg, silent)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.own.check(netip.MustParseAddrPort(text))
	}
	for _, c := range []struct {
		change func(*Config)
		at     string
		own    bool
	}{
		{func(*Config) {}, "127.0.0.1:9180", true},
		{func(c *Config) { c.Status.Listen = "" }, "127.0.0.1:9180", false},
		{func(c *Config) { c.Status.Listen = ":9180" }, "127.0.0.5:9180", true},
		{func(*Config) {}, "127.0.0.1:9153", false},
		{func(c *Config) { c.Nginx.Apply = "live" }, "127.0.0.1:9153", true},
		{func(c *Config) { c.Nginx.Apply = "auto" }, "127.0.0.1:9153", false},
		{func(c *Config) { c.Nginx.Apply, c.Nginx.Live = "auto", "resolve" }, "127.0.0.1:9153", true},
		{func(c *Config) { c.Nginx.Apply, c.Nginx.Live = "live", "lua" }, "127.0.0.1:9153", false},
		{func(c *Config) { c.Nginx.Proof = "127.0.0.1:9181" }, "127.0.0.1:9181", true},
	} {
		if err := at(c.change, c.at); (err != nil) != c.own {
			t.Errorf("%s: %v", c.at, err)
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
