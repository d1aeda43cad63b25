package names_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/lbd/live/names"
)

// traffic sends requests until the function it returns is called: that one fails the test unless every request was
// answered with 2xx. posts is the share of POSTs: none where Nginx is reloaded, because that closes idle connections to
// clients at the moment at which they may send, and a POST is not repeated.
func (s *site) traffic(rate, posts float64) (end func() load.Report) {
	s.Helper()
	// How long an answer takes on a machine with other work says nothing; that it fails, or never comes, does.
	g, err := load.New(load.Options{URL: s.url, Rate: rate, Conns: 16, PostShare: posts, Body: []byte("x"),
		Timeout: soon, MaxWaiting: int(rate * soon.Seconds())})
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.Context())
	type result struct {
		load.Report
		error
	}
	done := make(chan result, 1)
	go func() {
		report, err := g.Run(ctx)
		done <- result{report, err}
	}()
	ended := false
	s.Cleanup(func() {
		if cancel(); !ended {
			<-done
		}
	})
	return func() load.Report {
		s.Helper()
		cancel()
		r := <-done
		ended = true
		if r.error != nil {
			s.Fatal(r.error)
		}
		if r.Failed > 0 || r.OK == 0 {
			s.Errorf("%d requests failed and %d were answered: %v", r.Failed, r.OK, r.ByReason)
		}
		return r.Report
	}
}

// The claim of Pending, and that a change costs nobody a request: a node comes and goes under traffic, and gets
// nothing once Pending has said so.
func TestANodeGetsNothingOncePendingSaysSo(t *testing.T) {
	for _, inUpstream := range []string{"", "least_conn; keepalive 8;", "random two least_conn;"} {
		t.Run(inUpstream, func(t *testing.T) {
			t.Parallel()
			all := backends(t, 3)
			s := newSite(t, inUpstream, peers(all...)...)
			s.settle()
			end := s.traffic(300, 0.2)
			gone := all[2]
			for cycle := range 4 {
				time.Sleep(time.Duration(cycle) * 170 * time.Millisecond) // so that changes meet Nginx's looks at all moments
				s.set(peers(all[0], all[1])...)
				s.settle()
				settled := time.Now()
				served := gone.Served()
				s.noneLeft(peer(gone).Addr)
				if at, late := gone.LastStart(settled); late {
					t.Errorf("cycle %d: a request came %v after nothing was pending", cycle, at.Sub(settled))
				}
				s.set(peers(all...)...)
				s.settle()
				serverstest.Eventually(t, soon, func() error {
					if gone.Served() == served {
						return fmt.Errorf("%s is back and gets nothing", gone.ID())
					}
					return nil
				})
			}
			end()
		})
	}
}

// noneLeft waits until no connection to a node is left.
func (s *site) noneLeft(addr netip.AddrPort) {
	s.Helper()
	serverstest.Eventually(s, soon, func() error {
		n, err := names.Connections(nil, addr)
		if err != nil || n[addr] > 0 {
			return fmt.Errorf("%d connections to %s, %v", n[addr], addr, err)
		}
		return nil
	})
}

func TestAnEmptyUpstreamGives502(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	s.settle()
	s.answers(502, "")
	b := backend(t, "node1")
	s.set(peer(b))
	s.settle()
	s.answers(200, "node1")
	s.set()
	s.settle()
	s.answers(502, "")
}

// answers asks three times, because there are two workers.
func (s *site) answers(status int, body string) {
	s.Helper()
	for range 3 {
		if got, text := s.get(""); got != status || body != "" && text != body {
			s.Errorf("status %d, %s, want %d %s", got, text, status, body)
		}
	}
}

func TestWeights(t *testing.T) {
	t.Parallel()
	all := backends(t, 2)
	list := peers(all...)
	list[0].Weight = 3
	s := newSite(t, "", list...)
	s.settle()
	s.shares(all, 30, 10)
	list[0].Weight = 1
	s.set(list...)
	s.settle()
	s.shares(all, 20, 20)
}

// shares asks 40 times: round robin in a zone is exact, but for its state when we begin.
func (s *site) shares(all []*load.Backend, want ...int64) {
	s.Helper()
	var before []int64
	for _, b := range all {
		before = append(before, b.Served())
	}
	for range 40 {
		s.get("")
	}
	for i, b := range all {
		if got := b.Served() - before[i]; got < want[i]-2 || got > want[i]+2 {
			s.Errorf("%s got %d of 40 requests, want %d", b.ID(), got, want[i])
		}
	}
}

func TestBackups(t *testing.T) {
	t.Parallel()
	all := backends(t, 2)
	list := peers(all...)
	list[1].Backup = true
	s := newSite(t, "", list...)
	s.settle()
	s.answers(200, "node1")
	all[0].Kill() // and nobody has taken it out
	s.answers(200, "node2")
	s.set(list[1])
	s.settle()
	s.answers(200, "node2")
	third := backend(t, "node3")
	s.set(peer(third), list[1])
	s.settle()
	s.answers(200, "node3")
}

func TestIPv6(t *testing.T) {
	t.Parallel()
	six, err := load.Listen("[::1]:0", "six")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(six.Kill)
	four := backend(t, "four")
	s := newSite(t, ipv6, peers(six, four)...)
	s.settle()
	s.shares([]*load.Backend{six, four}, 20, 20)
	s.set(peer(six))
	s.settle()
	s.answers(200, "six")
}

// Two nodes at one address can only be a fault of the fleet's; Nginx takes them as two servers, as it does with
// `server` lines.
func TestTheSameAddressTwice(t *testing.T) {
	t.Parallel()
	b := backend(t, "node1")
	s := newSite(t, "", peers(b, b)...)
	s.settle()
	s.answers(200, "node1")
	s.set(peer(b))
	s.settle()
	s.answers(200, "node1")
}
