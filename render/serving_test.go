package render_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/render"
)

// backend is a node that answers its id to every request.
func backend(t *testing.T, id string) render.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, id) }))
	t.Cleanup(s.Close)
	return node(id, s.Listener.Addr().String())
}

// answers asks a real nginx with that upstream for 40 paths: path → id of the node that answered.
func answers(t *testing.T, u render.Upstream, list []render.Server) map[string]string {
	t.Helper()
	n := serverstest.Nginx(t, servers.NginxOptions{Workers: 1,
		Files: map[string]string{"conf.d/upstream.conf": string(text(t, u, list))}})
	got := map[string]string{}
	for i := range 40 {
		path := fmt.Sprintf("/%d", i)
		resp, err := http.Get("http://" + n.Listen[0] + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("GET %s: %s %v", path, resp.Status, err)
		}
		resp.Body.Close()
		got[path] = string(body)
	}
	http.DefaultClient.CloseIdleConnections()
	return got
}

// With no node the placeholder keeps the configuration whole, and the fallback gets the requests.
func TestFallbackServesWithoutNodes(t *testing.T) {
	u := upstream(t, "least_conn")
	u.Fallback = []netip.AddrPort{backend(t, "sorry").Addr}
	for path, id := range answers(t, u, nil) {
		if id != "sorry" {
			t.Errorf("%s was answered by %q", path, id)
		}
	}
}

// A frozen node that stays in the list as down leaves everybody else where they were.
func TestFrozenNodeKeepsThePlacesOfOthers(t *testing.T) {
	list := []render.Server{backend(t, "a"), backend(t, "b"), backend(t, "c"), backend(t, "d")}
	for _, balance := range []string{"hash $request_uri", "hash $request_uri consistent"} {
		before := answers(t, upstream(t, balance), list)
		list[1].Down = true
		after := answers(t, upstream(t, balance), list)
		list[1].Down = false
		moved := 0
		for path, id := range before {
			switch {
			case id == "b" && after[path] == "b":
				t.Errorf("%s: %s is still served by the frozen node", balance, path)
			case id == "b":
				moved++
			case after[path] != id:
				t.Errorf("%s: %s moved from %s to %s", balance, path, id, after[path])
			}
		}
		if moved == 0 {
			t.Errorf("%s: node b had served nothing", balance)
		}
	}
}
