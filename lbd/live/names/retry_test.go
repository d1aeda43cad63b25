package names_test

import (
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/bazbeans/bazbeans/lbd/live/names"
)

// What docs/live-resolve.md says of retries: Nginx gives up a request whose first node fails it after the set has
// changed (ngx_http_upstream_get_round_robin_peer: "busy" when the configuration of peers is another than at the
// request's begin). With `server` lines it would go to another node. A set that stays lets it.
func TestARequestIsNotRetriedAcrossAChange(t *testing.T) {
	t.Parallel()
	for changed, want := range map[bool]int{false: 200, true: 502} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		dying := names.Peer{Addr: netip.MustParseAddrPort(l.Addr().String()), Weight: 1000}
		well := peer(backend(t, "node1"))
		s := newSite(t, "", dying, well)
		s.settle()

		status := make(chan int, 1)
		go func() {
			resp, err := http.Get(s.url)
			if err != nil {
				t.Error(err)
				status <- 0
				return
			}
			resp.Body.Close()
			status <- resp.StatusCode
		}()
		conn, err := l.Accept() // the request is on the dying node
		if err != nil {
			t.Fatal(err)
		}
		if changed {
			s.set(well)
			s.settle()
		}
		conn.Close()
		if got := <-status; got != want {
			t.Errorf("set changed: %v: status %d, want %d", changed, got, want)
		}
		http.DefaultClient.CloseIdleConnections()
	}
}
