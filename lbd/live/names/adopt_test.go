package names_test

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/lbd/live/names"
)

// load writes a configuration and reloads; it returns when the old workers are gone.
func (s *site) load(text string) {
	s.Helper()
	if err := os.WriteFile(s.Conf, []byte(text), 0o644); err != nil {
		s.Fatal(err)
	}
	before := s.workers()
	s.reload()
	serverstest.Eventually(s, soon, func() error {
		now := s.workers()
		for pid := range now {
			if before[pid] {
				return fmt.Errorf("worker %s is still there", pid)
			}
		}
		if len(now) != 2 {
			return fmt.Errorf("%d workers", len(now))
		}
		return nil
	})
}

func (s *site) workers() map[string]bool {
	s.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", s.Master()))
	if err != nil {
		s.Fatal(err)
	}
	pids := map[string]bool{}
	for _, pid := range strings.Fields(string(text)) {
		pids[pid] = true
	}
	return pids
}

// From server lines to names without a lost request: a reload that brings the line beside them, and once Nginx has been
// answered another that leaves the old ones out, whose workers take over the answer. A zone of another size does too.
func TestFromServerLinesToNames(t *testing.T) {
	t.Parallel()
	all := backends(t, 3)
	s := &site{TB: t}
	s.zone, s.stop = zone(t, netip.AddrPort{})
	listen := servers.Loopback(serverstest.Ports(t, 1)[0])
	s.url = "http://" + listen + "/"
	var lines strings.Builder
	for _, b := range all {
		fmt.Fprintf(&lines, "server %s; ", b.Addr())
	}
	named := conf(listen, s.zone.Addr(), "")
	line := "server " + names.Server(app) + ";"
	both := strings.Replace(named, line, lines.String()+line, 1)
	plain := strings.Replace(named, line, lines.String(), 1)
	s.Nginx = serverstest.Nginx(t, servers.NginxOptions{Binary: binary(t), Listen: []string{listen}, Conf: plain})
	end := s.traffic(300, 0)

	s.set(peers(all...)...)
	s.load(both)
	s.settle()
	s.load(named)
	s.settle()
	s.load(strings.Replace(named, " 4m;", " 1m;", 1))
	s.stop()
	s.load(strings.Replace(named, " 4m;", " 2m;", 1))
	s.load(named)
	end()
}
