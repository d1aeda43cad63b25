package names

import (
	"bytes"
	"net/netip"
	"strings"

	"github.com/bazbeans/bazbeans/lbd/live"
)

// Block is what an upstream block needs beside its `server` line, see [Server], and `zone`: who its peers are, as comments
// for people and [Strip], and the directives.
func Block(zone netip.AddrPort, u live.Upstream) string {
	var b strings.Builder
	for _, l := range strings.Split(strings.TrimSpace(string(live.Message{Upstreams: []live.Upstream{u}}.Encode())), "\n") {
		b.WriteString("# " + l + "\n    ")
	}
	b.WriteString(strings.Join(Directives(zone), "\n    "))
	return b.String()
}

// Strip returns the text of a configuration without the peers that [Block] wrote into it, and these peers.
func Strip(text []byte) (rest []byte, upstreams []live.Upstream, err error) {
	var seed []byte
	for line := range bytes.Lines(text) {
		t := bytes.TrimSpace(line)
		if after, ok := bytes.CutPrefix(t, []byte("# ")); ok && (len(seed) > 0 || bytes.HasPrefix(after, []byte("bazbeans 1 "))) {
			seed = append(append(seed, after...), '\n')
			if bytes.HasPrefix(after, []byte("end ")) {
				m, err := live.Decode(seed)
				if err != nil {
					return nil, nil, err
				}
				upstreams = append(upstreams, m.Upstreams...)
				seed = nil
			}
			continue
		}
		rest = append(rest, line...)
	}
	return rest, upstreams, nil
}

// Settled returns the newest generation that Nginx goes by for all that it begins from now on, as far as that is known, and
// what keeps it from the last one; "" for nothing.
func (z *Zone) Settled() (int64, string) {
	why := z.Pending()
	if why == "" {
		return z.content.Load().generation, ""
	}
	return 0, why
}
