package lua

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Bounds of a message; the code in Nginx refuses what is beyond.
const (
	MaxMessage = 4 << 20 // bytes
	MaxPeers   = 10000   // in all upstreams
	MaxSlot    = 16383
)

// Upstream is one live upstream with its peers in the order of its server lines.
type Upstream struct {
	Name  string
	Peers []Peer
}

// Peer is one server of a live upstream. Durations count in whole seconds.
type Peer struct {
	Slot        int    // 0 … MaxSlot, unique in its upstream, not another peer's while anything is under way on it
	ID          string // the node, "" for none: nothing in Nginx depends on it
	Addr        netip.AddrPort
	Weight      int // 1 … 65535
	MaxFails    int
	FailTimeout time.Duration
	MaxConns    int // 0: any number
	SlowStart   time.Duration
	Since       time.Time // when it came: the beginning of its slow start
	Down        bool      // gets nothing, and keeps its place for ip_hash and hash
	Backup      bool      // gets something when no other can
	Gone        bool      // not in the set any more: gets nothing, has no place, only its count is still of interest
}

var (
	nameRule = regexp.MustCompile(`\A[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\z`)
	idRule   = regexp.MustCompile(`\A(?:[A-Za-z0-9][A-Za-z0-9._-]{0,127})?\z`)
	sumRule  = regexp.MustCompile(`\A[0-9a-f]{1,128}\z`)
)

// Encode writes a message: the whole set of all live upstreams. sum is a hex
// digest of the caller's. It refuses what the code in Nginx would refuse.
func Encode(generation int64, sum string, upstreams []Upstream) ([]byte, error) {
	if generation < 0 || generation >= 1e15 || !sumRule.MatchString(sum) {
		return nil, fmt.Errorf("encode message: generation %d or sum %q is out of bounds", generation, sum)
	}
	out := fmt.Appendf(nil, "bazbeans 1 %d %s\n", generation, sum)
	all, names := 0, map[string]bool{}
	for _, u := range upstreams {
		if !nameRule.MatchString(u.Name) || names[u.Name] {
			return nil, fmt.Errorf("encode message: upstream %q has no proper name, or is there twice", u.Name)
		}
		names[u.Name] = true
		out = fmt.Appendf(out, "upstream %s\n", u.Name)
		slots := map[int]bool{}
		for _, p := range u.Peers {
			if slots[p.Slot] {
				return nil, fmt.Errorf("encode message: upstream %s: slot %d is there twice", u.Name, p.Slot)
			}
			slots[p.Slot] = true
			line, err := p.line()
			if err != nil {
				return nil, fmt.Errorf("encode message: upstream %s: peer %s %s: %w", u.Name, p.ID, p.Addr, err)
			}
			out = append(out, line...)
		}
		all += len(u.Peers)
	}
	out = fmt.Appendf(out, "end %d\n", all)
	if all > MaxPeers || len(out) > MaxMessage {
		return nil, fmt.Errorf("encode message: %d peers, %d bytes: more than the %d peers and %d bytes it may have", all, len(out), MaxPeers, MaxMessage)
	}
	return out, nil
}

// field is a number of a peer line with its bounds.
type field struct {
	name            string
	value, min, max int64
}

func (p Peer) fields() []field {
	return []field{
		{"slot", int64(p.Slot), 0, MaxSlot},
		{"port", int64(p.Addr.Port()), 1, 65535},
		{"weight", int64(p.Weight), 1, 65535},
		{"max_fails", int64(p.MaxFails), 0, 1e6},
		{"fail_timeout", int64(p.FailTimeout / time.Second), 0, 1e8},
		{"max_conns", int64(p.MaxConns), 0, 1e6},
		{"slow_start", int64(p.SlowStart / time.Second), 0, 1e6},
		{"since", unix(p.Since), 0, 1e11},
	}
}

func (p Peer) line() (string, error) {
	if a := p.Addr.Addr(); !a.IsValid() || a.Zone() != "" || a.Is4In6() {
		return "", errors.New("not an address of a peer")
	}
	if !idRule.MatchString(p.ID) {
		return "", errors.New("not an id of a node")
	}
	f := p.fields()
	for _, f := range f {
		if f.value < f.min || f.value > f.max {
			return "", fmt.Errorf("%s %d is not within %d and %d", f.name, f.value, f.min, f.max)
		}
	}
	id, flags := p.ID, ""
	if id == "" {
		id = "-"
	}
	for _, flag := range []struct {
		set  bool
		text string
	}{{p.Down, "d"}, {p.Backup, "b"}, {p.Gone, "g"}} {
		if flag.set {
			flags += flag.text
		}
	}
	if flags == "" {
		flags = "-"
	}
	return fmt.Sprintf("peer %d %s %s %d %d %d %d %d %d %d %s\n", f[0].value, id, p.Addr.Addr(),
		f[1].value, f[2].value, f[3].value, f[4].value, f[5].value, f[6].value, f[7].value, flags), nil
}

// unix is 0 for a time that was never set.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// Message is what [Decode] reads.
type Message struct {
	Generation int64
	Sum        string
	Upstreams  []Upstream
}

// Decode reads a message that [Encode] wrote; anything else is an error.
func Decode(message []byte) (Message, error) {
	var m Message
	lines := strings.Split(string(message), "\n")
	for i, line := range lines {
		if err := m.take(line, i == 0); err != nil {
			return Message{}, fmt.Errorf("decode message: line %d: %w", i+1, err)
		}
		if strings.HasPrefix(line, "end ") {
			break
		}
	}
	// Whatever was read too kindly doesn't come out the same again.
	again, err := Encode(m.Generation, m.Sum, m.Upstreams)
	if err != nil || !bytes.Equal(again, message) {
		return Message{}, fmt.Errorf("decode message: it is not one that Encode wrote (%d lines)", len(lines))
	}
	return m, nil
}

func (m *Message) take(line string, first bool) (err error) {
	words := strings.Split(line, " ")
	switch {
	case first && len(words) == 4 && words[0] == "bazbeans" && words[1] == "1":
		m.Sum = words[3]
		m.Generation, err = strconv.ParseInt(words[2], 10, 64)
		return err
	case first:
		return errors.New("not `bazbeans 1 GENERATION SUM`")
	case len(words) == 2 && words[0] == "upstream":
		m.Upstreams = append(m.Upstreams, Upstream{Name: words[1]})
		return nil
	case len(words) == 12 && words[0] == "peer" && len(m.Upstreams) > 0:
		p, err := peer(words)
		u := &m.Upstreams[len(m.Upstreams)-1]
		u.Peers = append(u.Peers, p)
		return err
	case len(words) == 2 && words[0] == "end":
		return nil
	}
	return errors.New("not a line of a message")
}

func peer(words []string) (Peer, error) {
	addr, err := netip.ParseAddr(words[3])
	if err != nil {
		return Peer{}, err
	}
	var n [9]int64 // slot, port, weight, max_fails, fail_timeout, max_conns, slow_start, since
	for i, word := range append([]string{words[1]}, words[4:11]...) {
		if n[i], err = strconv.ParseInt(word, 10, 64); err != nil {
			return Peer{}, err
		}
	}
	p := Peer{
		Slot: int(n[0]), ID: strings.TrimPrefix(words[2], "-"), Addr: netip.AddrPortFrom(addr, uint16(n[1])), Weight: int(n[2]),
		MaxFails: int(n[3]), FailTimeout: time.Duration(n[4]) * time.Second, MaxConns: int(n[5]),
		SlowStart: time.Duration(n[6]) * time.Second,
		Down:      strings.Contains(words[11], "d"), Backup: strings.Contains(words[11], "b"), Gone: strings.Contains(words[11], "g"),
	}
	if n[7] != 0 {
		p.Since = time.Unix(n[7], 0)
	}
	return p, nil
}
