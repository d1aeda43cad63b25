package names

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func upstream(name string, addrs ...string) Upstream {
	u := Upstream{Name: name}
	for _, a := range addrs {
		u.Peers = append(u.Peers, Peer{Addr: netip.MustParseAddrPort(a), Weight: 1})
	}
	return u
}

// newContent is the content of a Zone after such a Set.
func newContent(t testing.TB, upstreams ...Upstream) *content {
	t.Helper()
	var z Zone
	if err := z.Set(1, upstreams); err != nil {
		t.Fatal(err)
	}
	return z.content.Load()
}

func query(name string, kind uint16) *dns.Msg { return new(dns.Msg).SetQuestion(name, kind) }

// ask returns the answer to a question, nil when there is none.
func (c *content) ask(t testing.TB, q *dns.Msg, udp bool) *dns.Msg {
	t.Helper()
	message, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	reply := c.answer(message, udp).bytes
	if reply == nil {
		return nil
	}
	var m dns.Msg
	if err := m.Unpack(reply); err != nil {
		t.Fatalf("the answer to %v: %v", q, err)
	}
	if m.Id != q.Id || !m.Response || m.RecursionDesired != (q.RecursionDesired && q.Opcode == dns.OpcodeQuery) || m.Zero || m.AuthenticatedData || m.RecursionAvailable {
		t.Errorf("the header of the answer to %v is %v", q, m.MsgHdr)
	}
	if len(q.Question) > 0 && !slices.Equal(m.Question, q.Question[:1]) {
		t.Errorf("the answer to %v repeats %v", q.Question, m.Question)
	}
	return &m
}

func records(m *dns.Msg) string {
	var all []string
	for _, rr := range m.Answer {
		all = append(all, strings.ReplaceAll(rr.String(), "\t", " "))
	}
	return strings.Join(all, "\n")
}

func TestAnswers(t *testing.T) {
	u := upstream("app", "10.0.0.9:9", "10.0.0.1:8001", "[2001:db8::1]:8002", "[::ffff:10.0.0.2]:8003")
	u.Peers[0].Backup = true
	u.Peers[1].Weight = 65535
	c := newContent(t, u, upstream("none"), upstream("Big.Name", "10.0.0.1:8001"))
	const srv = "_lbd._tcp.app.bazbeans.internal. 0 IN SRV "
	for _, test := range []struct {
		name string
		kind uint16
		want string
	}{
		// A primary is before the backup, whatever the order was.
		{"_lbd._tcp.app.bazbeans.internal.", dns.TypeSRV, srv + "0 65535 8001 10.0.0.1:8001.\n" + srv + "0 1 8002 [2001:db8::1]:8002.\n" +
			srv + "0 1 8003 10.0.0.2:8003.\n" + srv + "1 1 9 10.0.0.9:9."},
		{"_LBD._tcp.App.bazbeans.internal.", dns.TypeSRV, strings.ReplaceAll(srv, "_lbd._tcp.app", "_LBD._tcp.App") + "0 65535 8001 10.0.0.1:8001."},
		{"_lbd._tcp.none.bazbeans.internal.", dns.TypeSRV, strings.ReplaceAll(srv, ".app.", ".none.") + "0 1 0 127.0.0.1:0."},
		{owner("Big.Name"), dns.TypeSRV, owner("Big.Name") + " 0 IN SRV 0 1 8001 10.0.0.1:8001."},
		{"10.0.0.1:8001.", dns.TypeA, "10.0.0.1:8001. 31536000 IN A 10.0.0.1"},
		{"10.0.0.1:8001.", dns.TypeAAAA, ""},
		{"[2001:DB8::1]:8002.", dns.TypeAAAA, "[2001:DB8::1]:8002. 31536000 IN AAAA 2001:db8::1"},
		{"[2001:db8::1]:8002.", dns.TypeA, ""},
		{"127.0.0.1:0.", dns.TypeA, "127.0.0.1:0. 31536000 IN A 127.0.0.1"},
	} {
		for _, udp := range []bool{true, false} {
			m := c.ask(t, query(test.name, test.kind), udp)
			if got := records(m); m.Rcode != dns.RcodeSuccess || !strings.HasPrefix(got, test.want) || test.want == "" && got != "" {
				t.Errorf("%s %s: %s\n%s\nwant\n%s", test.name, dns.TypeToString[test.kind], dns.RcodeToString[m.Rcode], got, test.want)
			}
		}
	}
}

func TestRefusesAllElse(t *testing.T) {
	c := newContent(t, upstream("app", "10.0.0.1:8001"))
	own := "_lbd._tcp.app.bazbeans.internal."
	chaos := query("version.bind.", dns.TypeTXT)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	notify := query(own, dns.TypeSOA)
	notify.Opcode = dns.OpcodeNotify
	two := query(own, dns.TypeSRV)
	two.Question = append(two.Question, two.Question[0])
	for _, q := range []*dns.Msg{
		query("example.com.", dns.TypeA), query(".", dns.TypeNS), query(own, dns.TypeA), query(own, dns.TypeANY), query(own, dns.TypeAXFR),
		query("_lbd._tcp.other.bazbeans.internal.", dns.TypeSRV), query("_lbd._udp.app.bazbeans.internal.", dns.TypeSRV),
		query("10.0.0.2:8001.", dns.TypeA), query("10.0.0.1:8002.", dns.TypeA), query("10.0.0.1:8001.", dns.TypeSRV),
		chaos, notify, two, {MsgHdr: dns.MsgHdr{Id: 7}},
	} {
		if m := c.ask(t, q, true); m == nil || m.Rcode != dns.RcodeRefused || len(m.Answer) > 0 {
			t.Errorf("%v\nis answered %v", q, m)
		}
	}
	// An answer is no question: two servers that answer each other would never end.
	response := query(own, dns.TypeSRV)
	response.Response = true
	if m := c.ask(t, response, true); m != nil {
		t.Errorf("an answer is answered: %v", m)
	}
	if m := (*content)(nil).ask(t, query(own, dns.TypeSRV), true); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("before the first set: %v", m)
	}
}

func TestLongAnswersGoOverTCP(t *testing.T) {
	many := upstream("app")
	for addr := netip.MustParseAddr("10.0.0.1"); len(many.Peers) < 200; addr = addr.Next() {
		many.Peers = append(many.Peers, Peer{Addr: netip.AddrPortFrom(addr, 8000), Weight: 1})
	}
	c := newContent(t, many)
	q := query(owner("app"), dns.TypeSRV)
	if m := c.ask(t, q, true); !m.Truncated || len(m.Answer) > 0 {
		t.Errorf("over UDP: truncated %v, %d records", m.Truncated, len(m.Answer))
	}
	if m := c.ask(t, q, false); m.Truncated || len(m.Answer) != 200 {
		t.Errorf("over TCP: truncated %v, %d records", m.Truncated, len(m.Answer))
	}
	many.Peers = many.Peers[:110]
	if m := newContent(t, many).ask(t, q, true); m.Truncated || len(m.Answer) != 110 {
		t.Errorf("over UDP: truncated %v, %d records", m.Truncated, len(m.Answer))
	}
}

func TestSetRefuses(t *testing.T) {
	ok := upstream("app", "10.0.0.1:80")
	with := func(p Peer) []Upstream { return []Upstream{ok, {Name: "other", Peers: []Peer{p}}} }
	addr := ok.Peers[0].Addr
	for want, upstreams := range map[string][]Upstream{
		"upstream app is there twice":                              {ok, ok},
		"weight 0 is not from 1 to 65535":                          with(Peer{Addr: addr}),
		"weight 65536 is not from 1 to 65535":                      with(Peer{Addr: addr, Weight: 65536}),
		"peer invalid AddrPort: not an address":                    with(Peer{Weight: 1}),
		"peer 10.0.0.1:0: not an address":                          with(Peer{Addr: netip.MustParseAddrPort("10.0.0.1:0"), Weight: 1}),
		"peer [fe80::1%eth0]:80: not an address":                   with(Peer{Addr: netip.MustParseAddrPort("[fe80::1%eth0]:80"), Weight: 1}),
		"peer 127.0.0.1:0: not an address that Nginx can be given": with(Peer{Addr: placeholder.Addr, Weight: 1, Backup: true}),
	} {
		var z Zone
		if err := z.Set(1, []Upstream{ok}); err != nil {
			t.Fatal(err)
		}
		before := z.content.Load()
		if err := z.Set(2, upstreams); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
		if z.content.Load() != before {
			t.Errorf("%s: the content has changed", want)
		}
	}
}

// An upstream that stays as it is has not to be asked for again.
func TestSetKeepsWhatStays(t *testing.T) {
	var z Zone
	a, b := upstream("a", "10.0.0.1:80"), upstream("b", "10.0.0.2:80")
	z.Set(1, []Upstream{a, b})
	first := z.content.Load()
	b.Peers[0].Weight = 2
	z.Set(2, []Upstream{b, a})
	second := z.content.Load()
	if first.byOwner[owner("a")] != second.byOwner[owner("a")] || first.byOwner[owner("b")] == second.byOwner[owner("b")] {
		t.Error("the wrong sets are new")
	}
}

func TestHost(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"app_backend", "App_backend", "a.b", "a..b", "a", "A", "9", strings.Repeat("x", 63), strings.Repeat("x", 64), strings.Repeat("y", 128), "_", "x-"} {
		h := host(name)
		if other, ok := seen[strings.ToLower(h)]; ok {
			t.Errorf("%s and %s are both %s", name, other, h)
		}
		seen[strings.ToLower(h)] = name
		if _, ok := dns.IsDomainName(owner(name)); !ok {
			t.Errorf("%s: %s is no name", name, owner(name))
		}
	}
	if got := Server("app_backend"); got != "app_backend.bazbeans.internal service=lbd resolve" {
		t.Error(got)
	}
}

func TestSupported(t *testing.T) {
	for version, want := range map[string]bool{
		"1.22.1": false, "1.26.3": false, "1.27.2": false, "1.27.1.2": false, "1.27": false, "0.99.99": false, "": false, "1.x": false, "nginx/1.26.3": false,
		"1.27.3": true, "1.27.10": true, "1.28.0": true, "1.30.6": true, "nginx/1.30.6": true, "2.0": true, "nginx/1.31.0 (Ubuntu)": true,
	} {
		if err := Supported(version); (err == nil) != want || err != nil && !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", version, err)
		}
	}
	for method, want := range map[string]bool{
		"": true, "round_robin": true, "least_conn": true, "random": true, "random two least_conn": true, "hash $request_uri consistent": true,
		"hash $request_uri": false, "ip_hash": false,
	} {
		if err := SupportedBalance(method); (err == nil) != want || err != nil && !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", method, err)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	u := upstream("app", "10.0.0.1:8001", "[2001:db8::1]:8002")
	for _, q := range []*dns.Msg{query(owner("app"), dns.TypeSRV), query("10.0.0.1:8001.", dns.TypeA), query("[2001:db8::1]:8002.", dns.TypeAAAA), query(".", dns.TypeNS)} {
		message, err := q.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(message)
		f.Add(append(message, 0xc0, 0x0c))
	}
	c := newContent(f, u)
	f.Fuzz(func(t *testing.T, message []byte) {
		for _, udp := range []bool{true, false} {
			a := c.answer(message, udp)
			if a.bytes == nil {
				continue
			}
			var m dns.Msg
			if err := m.Unpack(a.bytes); err != nil || !m.Response || m.Id != uint16(message[0])<<8|uint16(message[1]) {
				t.Errorf("%x is answered %x: %v", message, a.bytes, err)
			}
			if len(m.Answer) > 0 && m.Rcode != dns.RcodeSuccess || m.Rcode == dns.RcodeNameError {
				t.Errorf("%x is answered %v", message, m)
			}
		}
	})
}
