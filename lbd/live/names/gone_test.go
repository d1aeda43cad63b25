package names_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/lbd/live/names"
)

// How long Nginx keeps its last answer has no bound in its source; here half a minute stands for it, with a reload in
// the midst, whose new workers take over what the old ones knew.
func TestNginxKeepsTheLastAnswerWithoutUs(t *testing.T) {
	t.Parallel()
	all := backends(t, 2)
	s := newSite(t, "", peers(all...)...)
	s.settle()
	addr := s.zone.Addr()
	end := s.traffic(50, 0)
	s.stop()

	time.Sleep(15 * time.Second)
	s.reload()
	time.Sleep(15 * time.Second)
	report := end()
	if report.ByNode["node1"] == 0 || report.ByNode["node2"] == 0 {
		t.Errorf("answers by node: %v", report.ByNode)
	}
	if n := strings.Count(s.errorLog(), "could not be resolved"); n == 0 || n > 40 {
		t.Errorf("nginx wrote %d lines that it can't resolve:\n%s", n, s.errorLog())
	}

	// We are back, and know nothing yet: still nothing changes. Then there is another set.
	s.zone, s.stop = zone(t, addr)
	end = s.traffic(50, 0)
	serverstest.Eventually(t, soon, func() error {
		if !strings.Contains(s.errorLog(), "Server failure") {
			return fmt.Errorf("nginx has not asked")
		}
		return nil
	})
	if why := s.zone.Pending(); why != "no peers are known yet" {
		t.Errorf("pending: %q", why)
	}
	s.set(peer(all[1]))
	s.settle()
	settled := time.Now()
	s.noneLeft(peer(all[0]).Addr)
	end()
	if at, late := all[0].LastStart(settled); late {
		t.Errorf("a request came %v after nothing was pending", at.Sub(settled))
	}
}

// Nginx that starts without us knows no peer: it answers 502 until we are there, at most some seconds more.
func TestNginxStartsWithoutUs(t *testing.T) {
	t.Parallel()
	b := backend(t, "node1")
	s := &site{TB: t}
	s.zone, s.stop = zone(t, netip.AddrPort{})
	addr := s.zone.Addr()
	s.stop()
	s.start("")
	s.answers(502, "")
	s.zone, s.stop = zone(t, addr)
	s.set(peer(b))
	s.settle()
	s.answers(200, "node1")
}

func TestReload(t *testing.T) {
	t.Parallel()
	all := backends(t, 2)
	s := newSite(t, "", peers(all...)...)
	s.settle()
	end := s.traffic(100, 0)
	for range 3 {
		before := s.workers()
		s.reload()
		s.set(peer(all[0]))
		serverstest.Eventually(t, soon, func() error { // Pending knows of no worker that is not there yet
			for pid := range s.workers() {
				if !before[pid] {
					return nil
				}
			}
			return errors.New("no new worker yet")
		})
		s.settle()
		settled := time.Now()
		s.noneLeft(peer(all[1]).Addr)
		if at, late := all[1].LastStart(settled); late {
			t.Errorf("a request came %v after nothing was pending", at.Sub(settled))
		}
		s.set(peers(all...)...)
		s.settle()
	}
	end()
}

func TestThePortIsTaken(t *testing.T) {
	z, _ := zone(t, netip.AddrPort{})
	_, err := names.Listen(z.Addr(), nil)
	if err == nil || !strings.Contains(err.Error(), "listen on "+z.Addr().String()) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("%v", err)
	}
}
