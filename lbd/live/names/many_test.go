package names_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/lbd/live/names"
)

// fleet is n nodes of one process, each at an address of its own, and who of them was asked.
type fleet struct {
	peers []names.Peer
	mu    sync.Mutex
	asked map[netip.Addr]int
}

func newFleet(t testing.TB, n int) *fleet {
	t.Helper()
	f := &fleet{asked: map[netip.Addr]int{}}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		local := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr).AddrPort().Addr()
		f.mu.Lock()
		defer f.mu.Unlock()
		f.asked[local]++
	})}
	var serving sync.WaitGroup
	t.Cleanup(func() { server.Close(); serving.Wait() })
	port := serverstest.Ports(t, 1)[0]
	addr := netip.MustParseAddr("127.77.0.1")
	for range n {
		at := netip.AddrPortFrom(addr, uint16(port))
		l, err := net.Listen("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		serving.Go(func() { server.Serve(l) }) // ends with ErrServerClosed
		f.peers = append(f.peers, names.Peer{Addr: at, Weight: 1})
		addr = addr.Next()
	}
	return f
}

func (f *fleet) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.asked)
}

func (f *fleet) count(addr netip.Addr) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[addr]
}

func (f *fleet) reached() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

// A worker that is new to 1,000 nodes asks for all their addresses at once, in two kinds; nothing of it may be lost,
// else Nginx would go without those nodes for seconds. A reload under traffic is the hard case.
func TestAThousandNodes(t *testing.T) {
	f := newFleet(t, 1000)
	s := newSite(t, "keepalive 8;", f.peers...)
	s.settle()
	end := s.traffic(500, 0)
	s.all(f, 1000)
	s.reload()
	f.forget()
	s.all(f, 1000)

	s.set(f.peers[1:]...)
	s.settle()
	s.noneLeft(f.peers[0].Addr) // nor is a request under way
	f.forget()
	s.all(f, 999)
	end()
	if f.count(f.peers[0].Addr.Addr()) > 0 {
		t.Error("a request went to the node that was taken out")
	}
	for line := range strings.Lines(s.errorLog()) {
		if !strings.Contains(line, "[error]") {
			continue
		}
		if !strings.Contains(line, "Operation timed out") { // which is a machine that had no time for us
			t.Errorf("nginx says %s", line)
		}
	}
}

// A worker asks for all addresses before it reads an answer, and its socket holds fewer than it asks for. (The kernel
// keeps for us what is sent here.)
func TestAddressesComeNoFasterThanTheyAreRead(t *testing.T) {
	const n = 500
	u := names.Upstream{Name: app}
	for addr := netip.MustParseAddr("10.0.0.1"); len(u.Peers) < n; addr = addr.Next() {
		u.Peers = append(u.Peers, names.Peer{Addr: netip.AddrPortFrom(addr, 80), Weight: 1})
	}
	z, _ := zone(t, netip.AddrPort{})
	if err := z.Set(1, []names.Upstream{u}); err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(z.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i, p := range u.Peers {
		q := new(dns.Msg).SetQuestion(p.Addr.String()+".", dns.TypeA)
		q.Id = uint16(i)
		message, err := q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(message); err != nil {
			t.Fatal(err)
		}
	}
	// We read nothing until there is as much as we are sent before it was read.
	serverstest.Eventually(t, soon, func() error {
		text, err := os.ReadFile("/proc/self/net/udp")
		if err != nil {
			return err
		}
		local := conn.LocalAddr().(*net.UDPAddr).AddrPort()
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if _, waiting, _ := strings.Cut(fields[4], ":"); strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", local.Port())) && waiting >= "00020000" { // 128 KiB
				return nil
			}
		}
		return errors.New("little is there to be read")
	})
	answered := map[uint16]bool{}
	conn.SetReadDeadline(time.Now().Add(soon))
	for buffer := make([]byte, 512); len(answered) < n; {
		size, err := conn.Read(buffer)
		if err != nil {
			t.Fatalf("%d answers of %d: %v", len(answered), n, err)
		}
		var m dns.Msg
		if err := m.Unpack(buffer[:size]); err != nil || len(m.Answer) != 1 {
			t.Fatalf("%v, %v", m, err)
		}
		answered[m.Id] = true
	}
}

// all waits until n nodes have been asked.
func (s *site) all(f *fleet, n int) {
	s.Helper()
	serverstest.Eventually(s, soon, func() error {
		if got := f.reached(); got < n {
			return fmt.Errorf("%d nodes of %d were asked", got, n)
		}
		return nil
	})
}

func TestTooManyNodes(t *testing.T) {
	var list []names.Peer
	addr := netip.MustParseAddr("200.100.100.100")
	for range 2000 {
		list = append(list, names.Peer{Addr: netip.AddrPortFrom(addr, 12345), Weight: 1})
		addr = addr.Next()
	}
	for n, want := range map[int]bool{1: true, 1550: true, 1700: false, 2000: false} {
		if err := names.Fits(names.Upstream{Name: app, Peers: list[:n]}); (err == nil) != want || err != nil && !errors.Is(err, names.ErrTooLarge) {
			t.Errorf("%d peers: %v", n, err)
		}
	}
	z, _ := zone(t, netip.AddrPort{})
	err := z.Set(1, []names.Upstream{{Name: app, Peers: list}})
	if want := "upstream app_backend: too many peers for one DNS answer: 2000 peers make"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %v, want %s …", err, want)
	}
}
