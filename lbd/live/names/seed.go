package names

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/bazbeans/bazbeans/lbd/live"
)

// comment begins the lines in which [Block] writes peers down.
const comment = "# "

// Block is what an upstream block needs beside its `server` line, see [Server], and `zone`: who its peers are, as comments
// for people and for [Strip], and the directives.
func Block(zone netip.AddrPort, u live.Upstream) string {
	message := live.Message{Upstreams: []live.Upstream{u}}.Encode()
	var lines []string
	for line := range bytes.Lines(message) {
		lines = append(lines, comment+strings.TrimSuffix(string(line), "\n"))
	}
	ipv6 := slices.ContainsFunc(u.Peers, func(p live.Peer) bool { return p.Addr.Addr().Unmap().Is6() })
	return strings.Join(append(lines, Directives(zone, ipv6)...), "\n    ")
}

// Strip returns the text of a configuration without the peers that [Block] wrote into it, and these peers.
func Strip(text []byte) (rest []byte, upstreams []live.Upstream, err error) {
	var message []byte // as far as it was read
	for line := range bytes.Lines(text) {
		words, isComment := bytes.CutPrefix(bytes.TrimSpace(line), []byte(comment))
		switch {
		case len(message) == 0 && !(isComment && bytes.HasPrefix(words, []byte("bazbeans "))):
			rest = append(rest, line...)
			continue
		case !isComment:
			return nil, nil, fmt.Errorf("the peers in comments end at %.80q, without their last line", bytes.TrimSpace(line))
		}
		message = append(append(message, words...), '\n')
		if bytes.HasPrefix(words, []byte("end ")) {
			m, err := live.Decode(message)
			if err != nil {
				return nil, nil, fmt.Errorf("the peers in comments: %w", err)
			}
			upstreams, message = append(upstreams, m.Upstreams...), nil
		}
	}
	if len(message) > 0 {
		return nil, nil, errors.New("the peers in comments have no last line")
	}
	return rest, upstreams, nil
}
