package names

import (
	"bytes"
	"strings"

	"github.com/miekg/dns"
)

// The sizes of what goes over UDP.
const (
	longestQuestion = 1232
	longestUDP      = 4096 // Nginx's own bound (NGX_RESOLVER_UDP_SIZE); it takes so much without having announced it
)

// The first 12 bytes of a message: id, flags, four counts.
const (
	headerSize    = 12
	recursionWish = 0x01 // in the third byte
	truncated     = 0x02 // in the third byte
)

// answer is what is to be sent for a message.
type answer struct {
	bytes   []byte // nil: nothing
	set     *set   // whose peers it names, nil for all other answers
	cut     bool   // it names none, and tells to ask over TCP
	address bool   // it has the address of a peer's name
}

// answer answers a message. There is no content yet when c is nil.
func (c *content) answer(message []byte, udp bool) answer {
	var q dns.Msg
	if len(message) > longestQuestion || q.Unpack(message) != nil || q.Response {
		return answer{}
	}
	if q.Opcode != dns.OpcodeQuery || len(q.Question) != 1 || q.Question[0].Qclass != dns.ClassINET {
		return answer{bytes: refuse(&q, dns.RcodeRefused)}
	}
	if c == nil {
		return answer{bytes: refuse(&q, dns.RcodeServerFailure)}
	}
	name := strings.ToLower(q.Question[0].Name)
	switch q.Question[0].Qtype {
	case dns.TypeSRV:
		if s := c.byOwner[name]; s != nil {
			if reply, cut := s.answer(message, udp); reply != nil {
				return answer{bytes: reply, set: s, cut: cut}
			}
		}
	case dns.TypeA, dns.TypeAAAA:
		if _, ok := c.hosts[name]; ok {
			return answer{bytes: c.address(&q, name), address: true}
		}
	}
	return answer{bytes: refuse(&q, dns.RcodeRefused)}
}

// answer is the packed answer, made one to this question. It is nil when the question is not spelled out as in the
// answer but for its case.
func (s *set) answer(message []byte, udp bool) (reply []byte, cut bool) {
	end := headerSize + bytes.IndexByte(s.packed[headerSize:], 0) + 1 // of the question's name
	if len(message) < end || !bytes.EqualFold(message[headerSize:end], s.packed[headerSize:end]) {
		return nil, false
	}
	cut = udp && len(s.packed) > longestUDP
	if cut {
		reply = bytes.Clone(s.packed[:end+4]) // type and class
		reply[2] |= truncated
		clear(reply[6:8]) // no answers
	} else {
		reply = bytes.Clone(s.packed)
	}
	copy(reply, message[:2])
	reply[2] |= message[2] & recursionWish
	copy(reply[headerSize:], message[headerSize:end])
	return reply, cut
}

// address answers for a peer's name, which has one address, of one of the two kinds.
func (c *content) address(q *dns.Msg, name string) []byte {
	addr := c.hosts[name]
	m := new(dns.Msg).SetReply(q)
	m.Authoritative, m.Compress = true, true
	header := dns.RR_Header{Name: q.Question[0].Name, Rrtype: q.Question[0].Qtype, Class: dns.ClassINET, Ttl: addressTTL}
	switch {
	case addr.Is4() && header.Rrtype == dns.TypeA:
		m.Answer = []dns.RR{&dns.A{Hdr: header, A: addr.AsSlice()}}
	case addr.Is6() && header.Rrtype == dns.TypeAAAA:
		m.Answer = []dns.RR{&dns.AAAA{Hdr: header, AAAA: addr.AsSlice()}}
	}
	return pack(m)
}

// refuse answers with an error and nothing else. Nginx keeps what it has upon any but "no such name".
func refuse(q *dns.Msg, code int) []byte {
	m := new(dns.Msg).SetRcode(q, code)
	if len(m.Question) > 1 {
		m.Question = m.Question[:1]
	}
	return pack(m)
}

func pack(m *dns.Msg) []byte {
	reply, err := m.Pack()
	if err != nil {
		return nil // names that can't be packed again are nobody's
	}
	return reply
}
