package names

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// Nginx takes nothing from an answer that comes after resolver_timeout, as when the machine stood still: it counts for
// nothing, though it is read. A question that waited before we came to read it is as old as that.
func TestALateAnswerProvesNothing(t *testing.T) {
	z, err := Listen(netip.MustParseAddrPort(servers.Loopback(serverstest.Ports(t, 1)[0])), slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer z.udp.Close()
	defer z.tcp.Close()
	if err := z.Set(1, []Upstream{upstream("app", "10.0.0.1:80")}); err != nil {
		t.Fatal(err)
	}
	worker, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(z.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer worker.Close()
	message, err := query(owner("app"), dns.TypeSRV).Pack()
	if err != nil {
		t.Fatal(err)
	}
	questions := make(chan received, 1)
	go func() { _ = z.readUDP(questions) }() // ends when the port is closed
	for _, age := range []time.Duration{0, tooLate} {
		z.mu.Lock()
		clear(z.clients)
		z.mu.Unlock()
		if _, err := worker.Write(message); err != nil {
			t.Fatal(err)
		}
		q := <-questions
		if came := time.Since(q.at); came < 0 || came > time.Minute {
			t.Fatalf("a question came %v ago", came)
		}
		q.at = time.Now().Add(-age)
		one := make(chan received, 1)
		one <- q
		close(one)
		z.answerUDP(one)
		if _, err := worker.Read(make([]byte, 512)); err != nil {
			t.Fatal(err)
		}
		if counts := len(z.clients) == 1; counts != (age == 0) {
			t.Errorf("an answer to a question of %v ago counts: %v", age, counts)
		}
	}
}

// The kernel knows when a question came, however long it lay unread.
func TestWhenAQuestionCame(t *testing.T) {
	z, err := Listen(netip.MustParseAddrPort(servers.Loopback(serverstest.Ports(t, 1)[0])), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.udp.Close()
	defer z.tcp.Close()
	worker, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(z.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer worker.Close()
	const lay = 20 * time.Millisecond
	questions := make(chan received, 1)
	serverstest.Eventually(t, time.Minute, func() error { // the kernel begins with its stamps a moment after it was asked to
		if _, err := worker.Write([]byte("question")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lay)
		go func() { _ = z.readUDP(questions) }()
		q := <-questions
		if err := z.udp.SetReadDeadline(time.Unix(1, 0)); err != nil { // that is its end
			t.Fatal(err)
		}
		for range questions {
		}
		if err := z.udp.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		questions = make(chan received, 1)
		if old := time.Since(q.at); old < lay {
			return fmt.Errorf("it counts as %v old, and lay there for %v", old, lay)
		}
		return nil
	})
}
