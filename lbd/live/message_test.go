package live

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestMessageComesBack(t *testing.T) {
	m := Message{Generation: 17, Sum: "abc", Upstreams: []Upstream{
		{Name: "app_backend", Peers: []Peer{
			{Slot: 0, ID: "web1", Addr: netip.MustParseAddrPort("10.0.0.1:8000"), Weight: 2, MaxFails: 1, FailTimeout: 10 * time.Second, MaxConns: 7},
			{Slot: 5, ID: "web2", Addr: netip.MustParseAddrPort("[fd00::2]:8000"), Weight: 1, SlowStart: 30 * time.Second, Since: time.Unix(1795370366, 0), Down: true},
			{Slot: 3, Addr: netip.MustParseAddrPort("10.0.0.9:80"), Weight: 1, Backup: true, Gone: true},
		}},
		{Name: "empty"},
	}}
	got, err := Decode(m.Encode())
	if err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("%s\nbecame %+v, %v", m.Encode(), got, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	const head, peer = "bazbeans 1 1 0\n", "peer 0 web1 10.0.0.1 80 1 1 10 0 0 0 -\n"
	for name, text := range map[string]string{
		"nothing":         "",
		"another version": "bazbeans 2 1 0\nend 0\n",
		"no end":          head + "upstream a\n" + peer,
		"cut short":       head + "upstream a\n" + peer + "end 2\n",
		"no upstream":     head + peer + "end 1\n",
		"a slot twice":    head + "upstream a\n" + peer + peer + "end 2\n",
		"a large slot":    head + "upstream a\npeer 16384 web1 10.0.0.1 80 1 1 10 0 0 0 -\nend 1\n",
		"a name":          head + "upstream a\npeer 0 web1 localhost 80 1 1 10 0 0 0 -\nend 1\n",
		"a word too many": head + "upstream a\n" + strings.TrimSuffix(peer, "\n") + " x\nend 1\n",
		"flags":           head + "upstream a\npeer 0 web1 10.0.0.1 80 1 1 10 0 0 0 x\nend 1\n",
		"behind the end":  head + "end 0\nend 0\n",
	} {
		if m, err := Decode([]byte(text)); err == nil {
			t.Errorf("%s: taken as %+v", name, m)
		}
	}
}
