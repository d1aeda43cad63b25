package nginx

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestListens(t *testing.T) {
	t.Parallel()
	s := newSite(t, "include conf.d/*.conf;", map[string]string{"conf.d/all.conf": `
		server { listen 81; listen [::]:82 ipv6only=on; listen *:83 reuseport; listen 10.0.0.1; listen "10.0.0.2:84" default_server; }
		server { listen localhost:85; listen unix:/run/x.sock; listen example.org:86; listen [::1]; location / { listen_not 87; } }
		server { server_name without.one; }
		server { include listen.inc; }
		upstream u { server 10.0.0.3:88; }`,
		"listen.inc": "listen 127.0.0.2:8001-8003;"})
	at, err := s.n.Listens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range at {
		got = append(got, a.String())
	}
	want := strings.Fields(fmt.Sprintf(`0.0.0.0:80 0.0.0.0:81 [::]:82 0.0.0.0:83 10.0.0.1:80 10.0.0.2:84 127.0.0.1:85 [::1]:85 [::1]:80
		127.0.0.2:8001 127.0.0.2:8002 127.0.0.2:8003 127.0.0.1:%d`, s.port))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("listens at\n%q, want\n%q", got, want)
	}
	s.write("conf.d/all.conf", "server { listen 81;")
	if at, err := s.n.Listens(t.Context()); err == nil || !strings.Contains(err.Error(), "conf.d/all.conf") {
		t.Errorf("of a file that is broken: %v, %v", at, err)
	}
}

func FuzzListenAt(f *testing.F) {
	for _, text := range []string{"80", "*:80", "[::]:80", "[::1]", "1.2.3.4", "localhost:1-3", "unix:/x", ":", "-", "65535", "1-65535", "[", "a:b:c"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, a := range listenAt(text) {
			if a.Addr() == (netip.Addr{}) {
				t.Errorf("%q gives %v", text, a)
			}
		}
	})
}
