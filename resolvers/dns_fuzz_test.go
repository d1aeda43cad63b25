package resolvers

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// Whatever a server sends is read as one of three things: records of the name or of what it is an alias of; another
// name to ask for; an error.
func FuzzDNSAnswer(f *testing.F) {
	q := new(dns.Msg).SetQuestion("n1.example.", dns.TypeA)
	q.Id = 1
	for _, records := range [][]string{
		nil,
		{"n1.example. 60 IN A 10.0.0.1"},
		{"n1.example. 60 IN CNAME n2.example.", "n2.example. 60 IN A 10.0.0.1", "other.example. 60 IN A 10.6.6.6"},
		{"n1.example. 60 IN CNAME n2.example.", "n2.example. 60 IN CNAME n1.example."},
		{"n1.example. 60 IN CNAME far.example."},
		{"n1.example. 60 IN SRV 1 2 3 n2.example.", "n1.example. 0 IN SRV 1 2 0 .", "n1.example. 4294967295 IN AAAA fd00::1"},
	} {
		m := new(dns.Msg).SetReply(q)
		for _, text := range records {
			m.Answer = append(m.Answer, record(text))
		}
		m.Ns = []dns.RR{record(zoneSOA)}
		packed, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed, uint16(dns.TypeA))
		f.Add(packed, uint16(dns.TypeSRV))
	}
	f.Fuzz(func(t *testing.T, packed []byte, qtype uint16) {
		m := new(dns.Msg)
		if m.Unpack(packed) != nil {
			return
		}
		q.Question[0].Qtype = qtype
		isAnswer(m, q)
		if usable(m) != nil {
			return
		}
		const name = "n1.example."
		r := readDNS(m, name, qtype)
		outcomes := 0
		for _, is := range []bool{len(r.records) > 0, r.next != "", r.err != nil} {
			if is {
				outcomes++
			}
		}
		if outcomes != 1 || r.ttl < 0 || r.ttl > mostTTL {
			t.Fatalf("%+v of %v", r, m)
		}
		aliases := map[string]bool{name: true}
		for range m.Answer {
			for _, rr := range m.Answer {
				if c, ok := rr.(*dns.CNAME); ok && aliases[strings.ToLower(c.Hdr.Name)] {
					aliases[strings.ToLower(c.Target)] = true
				}
			}
		}
		for _, rr := range r.records {
			if h := rr.Header(); h.Rrtype != qtype || !aliases[strings.ToLower(h.Name)] {
				t.Fatalf("%v is no answer to a question for %s %d", rr, name, qtype)
			}
		}
		if got := targets(r.records); len(got) > mostTargets {
			t.Fatalf("%d targets", len(got))
		}
	})
}
