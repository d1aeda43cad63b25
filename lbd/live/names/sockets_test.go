package names

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

func TestReadSockets(t *testing.T) {
	// As written by a little-endian machine.
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 0200007F:C350 01 00000000:0000001F 00:00000000 00000000    33        0 1 1 0 20 4 30 10 -1
   1: B80D0120000000000000000001000000:0050 0000000000000000FFFF00000100000A:01BB 08 00000000:00000000 00:00000000 00000000     0        0 1 1 0 20 4 30 10 -1
`
	var got []socket
	if err := readSockets(strings.NewReader(table), func(s socket) { got = append(got, s) }); err != nil {
		t.Fatal(err)
	}
	want := []socket{
		{netip.MustParseAddrPort("127.0.0.1:8080"), netip.MustParseAddrPort("127.0.0.2:50000"), 1, 31, 33},
		{netip.MustParseAddrPort("[2001:db8::1]:80"), netip.MustParseAddrPort("10.0.0.1:443"), 8, 0, 0},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, bad := range []string{"x", "0: 0100007F:1F90 0200007F:C350 01", "0: 01:1F90 0200007F:C350 01 0:0 0:0 0 0", "0: 0100007F:1F90 0200007F:C350 01 0 0:0 0 0",
		"0: 0100007G:1F90 0200007F:C350 01 0:0 0:0 0 0", "0: 0100007F 0200007F:C350 01 0:0 0:0 0 0", "0: 0100007F:1F90 0200007F:C350 01 0:0 0:0 0 x"} {
		if err := readSockets(strings.NewReader("heading\n"+bad+"\n"), func(socket) {}); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

// accepted opens n connections to a listener at addr, and says something over each that is not read.
func accepted(t *testing.T, addr string, n int) (at netip.AddrPort, ends []net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range n {
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		if _, err := server.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, client, server)
	}
	return netip.MustParseAddrPort(l.Addr().String()), ends
}

func TestConnections(t *testing.T) {
	four, ends := accepted(t, "127.0.0.1:0", 3)
	six, _ := accepted(t, "[::1]:0", 2)
	mapped := netip.AddrPortFrom(netip.AddrFrom16(four.Addr().As16()), four.Port())
	nobody := netip.MustParseAddrPort("192.0.2.1:80")
	check := func(addr netip.AddrPort, want int) {
		t.Helper()
		serverstest.Eventually(t, time.Minute, func() error { // what is sent over loopback arrives a little later on a busy machine
			got, err := Connections(nil, four, six, mapped, nobody)
			if err != nil || len(got) != 4 || got[addr] != want {
				return fmt.Errorf("%v, %v; want %d of %s", got, err, want, addr)
			}
			return nil
		})
	}
	check(four, 3)
	check(six, 2)
	check(mapped, 3)
	check(nobody, 0)
	ends[1].Close() // the node has answered and closed; nobody has read it
	check(four, 3)
	io.Copy(io.Discard, ends[0])
	ends[0].Close()
	check(four, 2)
}

// Connections of other users' programs are not counted.
func TestConnectionsOfUsers(t *testing.T) {
	addr, ends := accepted(t, "127.0.0.1:0", 3)
	give(t, ends[0], 65534)
	for _, c := range []struct {
		users []int
		want  int
	}{{nil, 3}, {[]int{os.Getuid()}, 2}, {[]int{65534}, 1}, {[]int{65534, os.Getuid()}, 3}, {[]int{4711}, 0}} {
		serverstest.Eventually(t, time.Minute, func() error {
			if got, err := Connections(c.users, addr); err != nil || got[addr] != c.want {
				return fmt.Errorf("of %v: %v, %v; want %d", c.users, got, err, c.want)
			}
			return nil
		})
	}
}

// give makes a socket another user's, as if his program had opened it.
func give(t *testing.T, c net.Conn, user int) {
	t.Helper()
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Chown(user, -1); err != nil {
		t.Fatalf("run this as root: %v", err)
	}
}

// The kernel's monitor and its table say the same, how much waits to be read, and whose it is.
func TestMonitorAndTableAgree(t *testing.T) {
	four, ends := accepted(t, "127.0.0.1:0", 2)
	give(t, ends[0], 65534)
	six, _ := accepted(t, "[::1]:0", 2)
	ours := func(all []socket) []socket { // without those that are over, of whoever had the ports before
		all = slices.DeleteFunc(all, func(s socket) bool {
			return s.remote != four && s.remote != six || !slices.Contains(underWay, s.state)
		})
		slices.SortFunc(all, func(a, b socket) int { return a.local.Compare(b.local) })
		return all
	}
	serverstest.Eventually(t, time.Minute, func() error {
		monitor, err := monitorTCP(underWay)
		if err != nil {
			return err
		}
		var table []socket
		if err := sockets("tcp", func(s socket) { table = append(table, s) }); err != nil {
			return err
		}
		monitor, table = ours(monitor), ours(table)
		if !slices.Equal(monitor, table) || len(table) != 4 || table[0].unread != uint64(len("hello")) {
			return fmt.Errorf("monitor %v\ntable %v", monitor, table)
		}
		return nil
	})
}

func BenchmarkConnections(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for range 1000 {
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		defer client.Close()
		server, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		defer server.Close()
	}
	at := netip.MustParseAddrPort(l.Addr().String())
	for b.Loop() {
		if n, err := Connections(nil, at); err != nil || n[at] != 1000 {
			b.Fatal(n, err)
		}
	}
}
