package names

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// ErrTooLarge is wrapped by [Fits] and [Zone.Set]: the peers don't fit one DNS message.
var ErrTooLarge = errors.New("too many peers for one DNS answer")

// placeholder is what an upstream without peers consists of. Nginx would look again only after ten seconds if it were
// told that there is nothing (ngx_resolver_report_srv). Nobody can listen on port 0, so connections are refused at
// once: 502.
var placeholder = Peer{Addr: netip.MustParseAddrPort("127.0.0.1:0"), Weight: 1}

// The priorities of SRV records: what has not the lowest one present is a backup server to Nginx.
const (
	primary = 0
	backup  = 1
)

func priority(p Peer) uint16 {
	if p.Backup {
		return backup
	}
	return primary
}

// addressTTL is how long Nginx may keep the address of a peer's name: the name is the address, so it is never wrong. A
// look at an upstream is one question then, and addresses are asked for only when they are new to a worker.
const addressTTL = 365 * 24 * 60 * 60 // seconds

// set is an upstream's peers. Only last changes in it. An upstream that stays as it is keeps its set.
type set struct {
	upstream string
	since    int64                 // the generation that brought it
	last     int64                 // the one before that which replaced it; guarded by Zone.mu
	packed   []byte                // the answer: its id is 0, its question in lower case
	hosts    map[string]netip.Addr // by the peers' names
}

// owner is the name in the SRV question for an upstream.
func owner(upstream string) string {
	return "_" + service + "._tcp." + host(upstream) + "."
}

// hostOf is the name of a peer: what its `server` line would say. So consistent hashing, which goes by that text, sends
// a client to the same peer as it would without names.
func hostOf(addr netip.AddrPort) string { return addr.String() + "." }

// Fits tells whether an upstream can be answered for. The error wraps [ErrTooLarge] when it has too many peers; how
// many fit depends on their addresses: at least 1,500 with IPv4, 950 with IPv6.
func Fits(u Upstream) error {
	_, err := newSet(u, 0)
	return err
}

func newSet(u Upstream, generation int64) (*set, error) {
	s := &set{upstream: u.Name, since: generation, hosts: make(map[string]netip.Addr, len(u.Peers))}
	peers := u.Peers
	if len(peers) == 0 {
		peers = []Peer{placeholder}
	}
	var m dns.Msg
	m.SetQuestion(owner(u.Name), dns.TypeSRV)
	m.Id, m.RecursionDesired = 0, false
	m.Response, m.Authoritative, m.Compress = true, true, true
	header := dns.RR_Header{Name: m.Question[0].Name, Rrtype: dns.TypeSRV, Class: dns.ClassINET} // TTL 0
	// Backups last: Nginx sorts records by priority with an insertion sort.
	peers = slices.Clone(peers)
	slices.SortStableFunc(peers, func(a, b Peer) int { return int(priority(a)) - int(priority(b)) })
	for _, p := range peers {
		addr := netip.AddrPortFrom(p.Addr.Addr().Unmap(), p.Addr.Port())
		if p != placeholder && (!addr.IsValid() || addr.Port() == 0 || addr.Addr().Zone() != "") {
			return nil, fmt.Errorf("upstream %s: peer %s: not an address that Nginx can be given", u.Name, p.Addr)
		}
		if p.Weight < 1 || p.Weight > 65535 {
			return nil, fmt.Errorf("upstream %s: peer %s: weight %d is not from 1 to 65535", u.Name, p.Addr, p.Weight)
		}
		rr := &dns.SRV{Hdr: header, Priority: priority(p), Weight: uint16(p.Weight), Port: addr.Port(), Target: hostOf(addr)}
		m.Answer = append(m.Answer, rr)
		s.hosts[rr.Target] = addr.Addr()
	}
	if size := m.Len(); size > dns.MaxMsgSize {
		return nil, fmt.Errorf("upstream %s: %w: %d peers make %d bytes, and %d are possible", u.Name, ErrTooLarge, len(peers), size, dns.MaxMsgSize)
	}
	var err error
	if s.packed, err = m.Pack(); err != nil {
		return nil, fmt.Errorf("upstream %s: pack the answer: %w", u.Name, err)
	}
	return s, nil
}
