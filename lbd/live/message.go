package live

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Message is a whole set of peers in the form in which Nginx is told it, and in which an output file holds the peers that
// Nginx begins with. It is lines of ASCII:
//
//	bazbeans 1 <generation> <sum: hex digits, 0 for none>
//	upstream <name>
//	peer <slot> <id or -> <ip> <port> <weight> <max_fails> <fail_timeout s> <max_conns> <slow_start s> <since unix s> <flags: - or of d b g>
//	end <number of peer lines>
//
// Slots are unique in an upstream, and never given to another peer while a request of the former one is under way.
type Message struct {
	Generation int64
	Sum        string // opaque: equal sums, equal content
	Upstreams  []Upstream
}

const (
	version = "1"
	noWord  = "-"
	noSum   = "0"
	// MaxSlot is the largest slot.
	MaxSlot = 1<<14 - 1
)

// Encode writes the message.
func (m Message) Encode() []byte {
	var b bytes.Buffer
	sum := m.Sum
	if sum == "" {
		sum = noSum
	}
	fmt.Fprintf(&b, "bazbeans %s %d %s\n", version, m.Generation, sum)
	lines := 0
	for _, u := range m.Upstreams {
		fmt.Fprintf(&b, "upstream %s\n", u.Name)
		for _, p := range u.Peers {
			p.write(&b)
			lines++
		}
	}
	fmt.Fprintf(&b, "end %d\n", lines)
	return b.Bytes()
}

func (p Peer) write(b *bytes.Buffer) {
	id, flags, since := p.ID, "", int64(0)
	if id == "" {
		id = noWord
	}
	for _, f := range []struct {
		flag string
		is   bool
	}{{"d", p.Down}, {"b", p.Backup}, {"g", p.Gone}} {
		if f.is {
			flags += f.flag
		}
	}
	if flags == "" {
		flags = noWord
	}
	if !p.Since.IsZero() {
		since = p.Since.Unix()
	}
	fmt.Fprintf(b, "peer %d %s %s %d %d %d %d %d %d %d %s\n", p.Slot, id, p.Addr.Addr().Unmap(), p.Addr.Port(), p.Weight, p.MaxFails,
		int(p.FailTimeout.Seconds()), p.MaxConns, int(p.SlowStart.Seconds()), since, flags)
}

// Decode reads a message; an error names the line.
func Decode(text []byte) (Message, error) {
	var m Message
	lines, ended := 0, false
	taken := map[int]bool{} // slots of the upstream that is read
	for i, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		bad := func(why string) (Message, error) {
			return Message{}, fmt.Errorf("message line %d: %.80q %s", i+1, line, why)
		}
		words := strings.Split(line, " ")
		switch {
		case ended:
			return bad("is behind the end")
		case i == 0:
			if len(words) != 4 || words[0] != "bazbeans" || words[1] != version {
				return bad("is no head of version " + version)
			}
			n, err := strconv.ParseInt(words[2], 10, 64)
			if err != nil || n < 0 {
				return bad("has no generation")
			}
			if m.Generation = n; words[3] != noSum {
				m.Sum = words[3]
			}
		case words[0] == "upstream" && len(words) == 2:
			m.Upstreams = append(m.Upstreams, Upstream{Name: words[1]})
			clear(taken)
		case words[0] == "peer" && len(m.Upstreams) > 0:
			p, err := readPeer(words[1:])
			if err != nil {
				return bad(err.Error())
			}
			u := &m.Upstreams[len(m.Upstreams)-1]
			if taken[p.Slot] {
				return bad("has the slot of another")
			}
			taken[p.Slot] = true
			u.Peers = append(u.Peers, p)
			lines++
		case words[0] == "end" && len(words) == 2 && words[1] == strconv.Itoa(lines):
			ended = true
		default:
			return bad("is not understood")
		}
	}
	if !ended {
		return Message{}, fmt.Errorf("message ends without its last line, end %d", lines)
	}
	return m, nil
}

func readPeer(words []string) (Peer, error) {
	if len(words) != 11 {
		return Peer{}, fmt.Errorf("has %d words, want 11", len(words))
	}
	p := Peer{ID: words[1]}
	if p.ID == noWord {
		p.ID = ""
	}
	addr, err := netip.ParseAddr(words[2])
	if err != nil {
		return Peer{}, fmt.Errorf("has no address: %w", err)
	}
	port, err := strconv.ParseUint(words[3], 10, 16)
	if err != nil {
		return Peer{}, fmt.Errorf("has no port: %w", err)
	}
	p.Addr = netip.AddrPortFrom(addr, uint16(port))
	var numbers [7]int64 // slot, then from the weight on
	for i, word := range append([]string{words[0]}, words[4:10]...) {
		if numbers[i], err = strconv.ParseInt(word, 10, 64); err != nil || numbers[i] < 0 {
			return Peer{}, fmt.Errorf("has %.20q where a number should be", word)
		}
	}
	if p.Slot = int(numbers[0]); p.Slot > MaxSlot {
		return Peer{}, fmt.Errorf("has a slot above %d", MaxSlot)
	}
	p.Weight, p.MaxFails, p.MaxConns = int(numbers[1]), int(numbers[2]), int(numbers[4])
	p.FailTimeout, p.SlowStart = time.Duration(numbers[3])*time.Second, time.Duration(numbers[5])*time.Second
	if numbers[6] > 0 {
		p.Since = time.Unix(numbers[6], 0)
	}
	flags := words[10]
	p.Down, p.Backup, p.Gone = strings.Contains(flags, "d"), strings.Contains(flags, "b"), strings.Contains(flags, "g")
	if flags != noWord && strings.Trim(flags, "dbg") != "" {
		return Peer{}, fmt.Errorf("has unknown flags %.20q", flags)
	}
	return p, nil
}
