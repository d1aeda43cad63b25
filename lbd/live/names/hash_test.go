package names_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// A consistent hash sends each client to the node to which it would send it with `server` lines, so that changing the
// way of applying moves nobody.
func TestConsistentHashIsThatOfServerLines(t *testing.T) {
	t.Parallel()
	const method = "hash $request_uri consistent;"
	all := backends(t, 4)
	list := peers(all...)
	list[1].Weight = 3
	s := newSite(t, method, list...)
	s.settle()

	var lines strings.Builder
	for _, p := range list {
		fmt.Fprintf(&lines, "server %s weight=%d;", p.Addr, p.Weight)
	}
	listen := servers.Loopback(serverstest.Ports(t, 1)[0])
	text := conf(listen, s.zone.Addr(), method)
	begin := strings.Index(text, "server "+app)
	end := begin + strings.Index(text[begin:], ";") + 1
	plain := &site{TB: t, url: "http://" + listen + "/"}
	serverstest.Nginx(t, servers.NginxOptions{Binary: binary(t), Listen: []string{listen}, Conf: text[:begin] + lines.String() + text[end:]})
	for i := range 100 {
		path := fmt.Sprintf("client%d", i)
		_, ours := s.get(path)
		if _, theirs := plain.get(path); ours != theirs {
			t.Errorf("%s goes to %s, and to %s with server lines", path, ours, theirs)
		}
	}
}
