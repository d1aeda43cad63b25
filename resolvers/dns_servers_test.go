package resolvers

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

func TestDNSServerTrouble(t *testing.T) {
	type writer = dns.ResponseWriter
	for name, c := range map[string]struct {
		does func(w writer, q *dns.Msg) bool
		want string
	}{
		"servfail": {func(w writer, q *dns.Msg) bool { return send(w, q, dns.RcodeServerFailure) }, "SERVFAIL"},
		"refused":  {func(w writer, q *dns.Msg) bool { return send(w, q, dns.RcodeRefused) }, "REFUSED"},
		"unheard":  {func(w writer, q *dns.Msg) bool { return send(w, q, 15) }, "code 15"},
		"stalls":   {func(w writer, q *dns.Msg) bool { return true }, "no answer within 100ms"},
		"other names": {func(w writer, q *dns.Msg) bool {
			return send(w, q, dns.RcodeSuccess, "evil.example. 60 IN A 10.6.6.6")
		}, "not mine 5s"},
		"other class": {func(w writer, q *dns.Msg) bool {
			return send(w, q, dns.RcodeSuccess, q.Question[0].Name+" 60 CH A 10.6.6.6")
		}, "not mine 5s"},
		"a record that is none": {func(w writer, q *dns.Msg) bool {
			m := new(dns.Msg).SetReply(q)
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}}}
			_ = w.WriteMsg(m)
			return true
		}, "the answer holds no address"},
		"referral": {func(w writer, q *dns.Msg) bool {
			m := new(dns.Msg).SetReply(q)
			m.Ns = []dns.RR{record("example. 60 IN NS ns.example.")}
			_ = w.WriteMsg(m)
			return true
		}, "it refers to other servers and does not ask them itself"},
		"lies, and then tells the truth": {func(w writer, q *dns.Msg) bool {
			lie := new(dns.Msg).SetReply(q)
			lie.Answer = []dns.RR{record(q.Question[0].Name + " 60 IN A 10.6.6.6")}
			for _, change := range []func(m *dns.Msg){
				func(m *dns.Msg) { m.Id++ },
				func(m *dns.Msg) { m.Response = false },
				func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify },
				func(m *dns.Msg) { m.Question = nil },
				func(m *dns.Msg) { m.Question[0].Name = "other.example." },
				func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTXT },
				func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) },
			} {
				m := lie.Copy()
				change(m)
				_ = w.WriteMsg(m)
			}
			_, _ = w.Write([]byte("x"))
			_, _ = w.Write([]byte(strings.Repeat("\xc0\x0c", 200)))
			return false
		}, "10.0.0.1 1m0s"},
		"knows no EDNS0": {func(w writer, q *dns.Msg) bool {
			if q.IsEdns0() == nil {
				return false
			}
			m := new(dns.Msg).SetRcode(q, dns.RcodeFormatError)
			m.Question = nil
			_ = w.WriteMsg(m)
			return true
		}, "10.0.0.1 1m0s"},
		"truncates": {func(w writer, q *dns.Msg) bool {
			if w.LocalAddr().Network() == "tcp" {
				return false
			}
			m := new(dns.Msg).SetReply(q)
			m.Truncated = true
			m.Answer = []dns.RR{record(q.Question[0].Name + " 60 IN A 10.0.0.9")}
			_ = w.WriteMsg(m)
			return true
		}, "10.0.0.1 1m0s"},
		"truncates by TCP": {func(w writer, q *dns.Msg) bool {
			m := new(dns.Msg).SetReply(q)
			m.Truncated = true
			_ = w.WriteMsg(m)
			return true
		}, "its answer is cut off by TCP, too"},
		"lies by TCP": {func(w writer, q *dns.Msg) bool {
			m := new(dns.Msg).SetReply(q)
			if m.Truncated = w.LocalAddr().Network() == "udp"; !m.Truncated {
				m.Id++
			}
			_ = w.WriteMsg(m)
			return true
		}, "its answer is to another question"},
		"hangs up by TCP": {func(w writer, q *dns.Msg) bool {
			if w.LocalAddr().Network() == "tcp" {
				_ = w.Close()
				return true
			}
			m := new(dns.Msg).SetReply(q)
			m.Truncated = true
			_ = w.WriteMsg(m)
			return true
		}, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewNameServer(t)
			s.Says("n.example.", "60 A 10.0.0.1")
			s.Does(c.does)
			o := DNSOptions{Servers: []string{s.Addr}, Timeout: 5 * time.Second}
			if name == "stalls" {
				o.Timeout = 100 * time.Millisecond
			}
			got := lookUp(t, o, "n", Endpoint{}).text()
			if got = strings.TrimPrefix(got, s.Addr+": "); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestDNSAsksServersInTurn(t *testing.T) {
	bad, good := NewNameServer(t), NewNameServer(t)
	bad.Does(func(w dns.ResponseWriter, q *dns.Msg) bool { return send(w, q, dns.RcodeServerFailure) })
	good.Says("n.example.", "60 A 10.0.0.1")
	n, err := newDNSNames(DNSOptions{Suffix: "example", Servers: []string{deadAddr(t), bad.Addr, good.Addr}, Timeout: 5 * time.Second}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got := n.look(t.Context(), []question{{id: "n"}})[0].text(); got != "10.0.0.1 1m0s" {
			t.Error(got)
		}
	}
	order := n.servers.order()
	if order[2].addr != n.servers.fixed[0].addr {
		t.Error("a dead server is still asked before the others")
	}
	good.Does(func(w dns.ResponseWriter, q *dns.Msg) bool { return send(w, q, dns.RcodeRefused) })
	got := n.look(t.Context(), []question{{id: "n"}})[0].text()
	for _, want := range []string{bad.Addr + ": SERVFAIL", good.Addr + ": REFUSED", n.servers.fixed[0].addr + ": connection refused"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s does not say %s", got, want)
		}
	}
}

// A server that was silent is tried again after a while, by one look-up at a time.
func TestDNSTriesASilentServerAgain(t *testing.T) {
	s := &dnsServer{}
	now := time.Now()
	for range 2 {
		if !s.trusted(now) {
			t.Error("a server that nothing is known of is not asked")
		}
	}
	s.silent(now)
	if s.trusted(now.Add(avoidance - 1)) {
		t.Error("asked again too soon")
	}
	now = now.Add(avoidance)
	for i := range 2 {
		if s.trusted(now) != (i == 0) {
			t.Error("not tried by one look-up")
		}
	}
	s.avoid.Store(0)
	if !s.trusted(now) {
		t.Error("not asked though it has answered")
	}
}

// deadAddr is an address on loopback where nobody listens.
func deadAddr(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", serverstest.Ports(t, 1)[0])
}

func TestDNSLostPacket(t *testing.T) {
	got := ""
	for range 3 { // the second packet is as good as lost when the machine stands still for its second
		s := NewNameServer(t)
		s.Says("n.example.", "60 A 10.0.0.1")
		s.Does(func(dns.ResponseWriter, *dns.Msg) bool { return s.Asked("n.example.") == 1 })
		if got = lookUp(t, DNSOptions{Servers: []string{s.Addr}, Timeout: time.Second}, "n", Endpoint{}).text(); got == "10.0.0.1 1m0s" {
			return
		}
	}
	t.Error(got)
}

func TestDNSResolvConf(t *testing.T) {
	s := NewNameServer(t)
	s.Says("n.second.example.", "60 A 10.0.0.2")
	file := filepath.Join(t.TempDir(), "resolv.conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write("nameserver 127.0.0.9\nnameserver fd00::53\nsearch first.example second.example\n")
	o := DNSOptions{Resolv: file}.withDefaults()
	servers, err := newDNSServers(o)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := servers.current()
	if len(all) != 2 || all[0].addr != "127.0.0.9:53" || all[1].addr != "[fd00::53]:53" {
		t.Errorf("%v", all)
	}
	write("nameserver 127.0.0.8\n")
	if err := servers.read(time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	servers.looked = time.Time{}
	if all, _ := servers.current(); len(all) != 1 || all[0].addr != "127.0.0.8:53" {
		t.Errorf("%v", all)
	}
	if _, err := NewDNS(DNSOptions{Resolv: file}); err == nil {
		t.Error("no servers, and no error")
	}

	// The search list counts only where it is asked for.
	write("search first.example second.example\n")
	n, err := newDNSNames(DNSOptions{Resolv: file, Servers: []string{s.Addr}, Search: true}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	if got := n.look(t.Context(), []question{{id: "n"}})[0].text(); got != "10.0.0.2 1m0s" {
		t.Error(got)
	}
	n.search = false
	if got := n.look(t.Context(), []question{{id: "n"}})[0].text(); got != "not mine 5s" {
		t.Error(got)
	}
}
