package names_test

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/lbd/live"
	"github.com/bazbeans/bazbeans/lbd/live/names"
)

func TestStripFindsWhatBlockWrote(t *testing.T) {
	zone := netip.MustParseAddrPort("127.0.0.1:9153")
	ups := []live.Upstream{
		{Name: "a", Peers: []live.Peer{
			{Slot: 1, ID: "web1", Addr: netip.MustParseAddrPort("10.0.0.1:80"), Weight: 2, MaxFails: 1, FailTimeout: 10 * time.Second},
			{Slot: 4, Addr: netip.MustParseAddrPort("[2001:db8::1]:80"), Weight: 1, Backup: true},
		}},
		{Name: "b"},
	}
	var text, rest strings.Builder
	for i, u := range ups {
		directives := names.Directives(zone, i == 0)
		block := names.Block(zone, u)
		for _, directive := range directives {
			if !strings.Contains(block, "\n    "+directive) {
				t.Errorf("no %s in\n%s", directive, block)
			}
		}
		text.WriteString("# " + u.Name + " is live\nupstream x {\n    " + block + "\n}\n")
		rest.WriteString("# " + u.Name + " is live\nupstream x {\n    " + strings.Join(directives, "\n    ") + "\n}\n")
	}
	got, upstreams, err := names.Strip([]byte(text.String()))
	if err != nil || string(got) != rest.String() || !reflect.DeepEqual(upstreams, ups) {
		t.Errorf("%v\n%s\n%+v\nwant\n%s\n%+v", err, got, upstreams, rest.String(), ups)
	}
	for n := range strings.Count(text.String(), "\n") { // a line that an editor lost
		lines := strings.SplitAfter(text.String(), "\n")
		lost := strings.Join(append(lines[:n:n], lines[n+1:]...), "")
		_, found, err := names.Strip([]byte(lost))
		if isPeers := strings.HasPrefix(lines[n], "    # "); isPeers && err == nil && reflect.DeepEqual(found, ups) {
			t.Errorf("nobody minds that %q is lost", lines[n])
		}
	}
}
