package resolvers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// How long answers are believed, whatever they say.
const (
	leastTTL     = 5 * time.Second
	mostTTL      = time.Hour
	mostNegative = time.Minute // a record made just now, for a node that waits for it
)

// mostAliases is the length of a chain of CNAMEs that is followed.
const mostAliases = 8

// query asks for the records of one type of a name and follows its aliases. There is a record, or an error:
// ErrNotMine if there is none for sure.
func (s *dnsServers) query(ctx context.Context, name string, qtype uint16) ([]dns.RR, time.Duration, error) {
	ttl := mostTTL
	for range mostAliases {
		m, err := s.ask(ctx, name, qtype)
		if err != nil {
			return nil, 0, err
		}
		r := readDNS(m, name, qtype)
		ttl = min(ttl, r.ttl)
		if r.err != nil || len(r.records) > 0 {
			return r.records, max(ttl, leastTTL), r.err
		}
		name = r.next
	}
	return nil, 0, errAliases
}

var errAliases = fmt.Errorf("a chain of more than %d aliases", mostAliases)

// dnsReading is what one message says about a name: records, or where to ask on, or an error.
type dnsReading struct {
	records []dns.RR // of the type asked for, of the name or of what it is an alias of
	next    string   // the name is an alias of this one, of which the message says nothing
	ttl     time.Duration
	err     error
}

// readDNS reads a message whose code is NOERROR or NXDOMAIN. Records of names that were not asked for, and of which
// the one asked for is no alias, don't count.
func readDNS(m *dns.Msg, name string, qtype uint16) dnsReading {
	r := dnsReading{ttl: mostTTL}
	owner := name
	for range mostAliases {
		alias := ""
		for _, rr := range m.Answer {
			h := rr.Header()
			if h.Class != dns.ClassINET || !strings.EqualFold(h.Name, owner) {
				continue
			}
			switch cname, ok := rr.(*dns.CNAME); {
			case h.Rrtype == qtype:
				r.records = append(r.records, rr)
				r.ttl = min(r.ttl, seconds(h.Ttl))
			case ok && alias == "":
				alias = cname.Target
				r.ttl = min(r.ttl, seconds(h.Ttl))
			}
		}
		switch {
		case len(r.records) > 0:
			return r
		case alias != "":
			owner = alias
			continue
		}
		none, ok := negative(m, owner)
		if m.Rcode == dns.RcodeNameError || owner == name || ok {
			r.err, r.ttl = ErrNotMine, min(r.ttl, none, mostNegative)
			return r
		}
		r.next = owner
		return r
	}
	r.err = errAliases
	return r
}

// negative is how long it is good that a name has no record (RFC 2308, 5); ok is false when nobody vouches for it.
func negative(m *dns.Msg, name string) (ttl time.Duration, ok bool) {
	for _, rr := range m.Ns {
		if soa, is := rr.(*dns.SOA); is && dns.IsSubDomain(soa.Hdr.Name, name) {
			return min(seconds(soa.Hdr.Ttl), seconds(soa.Minttl)), true
		}
	}
	return 0, false
}

// seconds reads a TTL; one with the highest bit set is 0 (RFC 2181, 8).
func seconds(ttl uint32) time.Duration {
	if ttl > 1<<31-1 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}

// isAnswer reports whether m answers q, and is not somebody's guess or an answer to something else.
func isAnswer(m, q *dns.Msg) bool {
	if m.Id != q.Id || !m.Response || m.Opcode != dns.OpcodeQuery {
		return false
	}
	if len(m.Question) == 0 {
		return m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError // as a server may that could not read ours
	}
	a, b := m.Question[0], q.Question[0]
	return len(m.Question) == 1 && strings.EqualFold(a.Name, b.Name) && a.Qtype == b.Qtype && a.Qclass == b.Qclass
}

// usable says why an answer settles nothing.
func usable(m *dns.Msg) error {
	switch m.Rcode {
	case dns.RcodeNameError:
		return nil
	case dns.RcodeSuccess:
		if len(m.Answer) == 0 && isReferral(m) {
			return errors.New("it refers to other servers and does not ask them itself")
		}
		return nil
	}
	if text, ok := dns.RcodeToString[m.Rcode]; ok {
		return errors.New(text)
	}
	return fmt.Errorf("code %d", m.Rcode)
}

func isReferral(m *dns.Msg) bool {
	refers := false
	for _, rr := range m.Ns {
		switch rr.(type) {
		case *dns.SOA:
			return false
		case *dns.NS:
			refers = true
		}
	}
	return refers
}
