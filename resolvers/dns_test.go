package resolvers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/bazbeans/bazbeans/pool"
)

// lookUp looks one node up without a Cache between.
func lookUp(t *testing.T, o DNSOptions, id string, had Endpoint) finding {
	t.Helper()
	if o.Suffix == "" {
		o.Suffix = ".example"
	}
	n, err := newDNSNames(o.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	return n.look(t.Context(), []question{{id, had}})[0]
}

// text is a finding in a line: "10.0.0.1:80*5 60s", "not mine 30s", or the error.
func (f finding) text() string {
	switch {
	case errors.Is(f.err, ErrNotMine):
		return fmt.Sprintf("not mine %v", f.ttl)
	case f.err != nil:
		return f.err.Error()
	case f.Port != 0:
		return fmt.Sprintf("%v:%d*%d %v", f.Addr, f.Port, f.Weight, f.ttl)
	}
	return fmt.Sprintf("%v %v", f.Addr, f.ttl)
}

func TestDNSOutcomes(t *testing.T) {
	s := NewNameServer(t)
	s.Says("one.example.", "60 A 10.0.0.1", "60 AAAA fd00::1")
	s.Says("several.example.", "60 A 10.0.0.9", "90 A 10.0.0.2", "70 A 10.0.0.10")
	s.Says("short.example.", "0 A 10.0.0.1")
	s.Says("long.example.", "604800 A 10.0.0.1")
	s.Says("odd.example.", "4294967295 A 10.0.0.1")
	s.Says("text.example.", "60 TXT 10.0.0.1")
	s.Says("alias.example.", "20 CNAME two.example.")
	s.Says("two.example.", "40 CNAME one.example.")
	s.Says("dangling.example.", "20 CNAME nowhere.example.")
	s.Says("empty.example.", "20 CNAME text.example.")
	s.Says("loop.example.", "60 CNAME pool.example.")
	s.Says("pool.example.", "60 CNAME loop.example.")
	s.Says("self.example.", "60 CNAME self.example.")
	s.Says("srv.example.", "60 SRV 10 5 8080 one.example.", "60 SRV 20 5 9090 several.example.", "60 SRV 10 0 0 one.example.")
	s.Says("heavy.example.", "60 SRV 0 65535 80 alias.example.")
	s.Says("plain.example.", "60 SRV 0 0 80 six.example.")
	s.Says("six.example.", "50 AAAA fd00::6")
	s.Says("nosrv.example.", "60 SRV 0 0 80 .")
	s.Says("lost.example.", "60 SRV 0 0 80 nowhere.example.")
	s.Says("_http._tcp.web.example.", "60 SRV 0 7 81 one.example.")
	for _, c := range []struct{ id, record, prefix, had, want string }{
		{id: "one", want: "10.0.0.1 1m0s"},
		{id: "ONE", want: "10.0.0.1 1m0s"},
		{id: "one", record: "aaaa", want: "fd00::1 1m0s"},
		{id: "one", record: "SRV", want: "not mine 30s"},
		{id: "none", want: "not mine 30s"},
		{id: "text", want: "not mine 30s"},
		{id: "several", want: "10.0.0.2 1m0s"},
		{id: "several", had: "10.0.0.9", want: "10.0.0.9 1m0s"},
		{id: "several", had: "10.0.0.77", want: "10.0.0.2 1m0s"},
		{id: "short", want: "10.0.0.1 5s"},
		{id: "long", want: "10.0.0.1 1h0m0s"},
		{id: "odd", want: "10.0.0.1 5s"},
		{id: "alias", want: "10.0.0.1 20s"},
		{id: "dangling", want: "not mine 20s"},
		{id: "empty", want: "not mine 20s"},
		{id: "loop", want: errAliases.Error()},
		{id: "self", want: errAliases.Error()},
		{id: "srv", record: "SRV", want: "10.0.0.1:8080*5 1m0s"},
		{id: "heavy", record: "SRV", want: fmt.Sprintf("10.0.0.1:80*%d 20s", pool.MaxWeight)},
		{id: "plain", record: "SRV", want: "fd00::6:80*0 30s"},
		{id: "nosrv", record: "SRV", want: "not mine 1m0s"},
		{id: "lost", record: "SRV", want: "not mine 30s"},
		{id: "web", record: "SRV", prefix: "_http._tcp.", want: "10.0.0.1:81*7 1m0s"},
		{id: strings.Repeat("x", 64), want: "not mine 1m0s"}, // no label is that long
		{id: "a..b", want: "not mine 1m0s"},
	} {
		var had Endpoint
		if c.had != "" {
			had = at(c.had).Endpoint
		}
		o := DNSOptions{Servers: []string{s.Addr}, Record: c.record, Prefix: c.prefix}
		if got := lookUp(t, o, c.id, had).text(); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.id, c.record, got, c.want)
		}
	}
}

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

func TestDNSManyRecords(t *testing.T) {
	s := NewNameServer(t)
	var all []string
	for i := range 1000 {
		all = append(all, fmt.Sprintf("60 A 10.1.%d.%d", 200-i/250, 250-i%250))
	}
	s.Says("n.example.", all...)
	o := DNSOptions{Servers: []string{s.Addr}, Timeout: 5 * time.Second}
	if got := lookUp(t, o, "n", Endpoint{}).text(); got != "10.1.197.1 1m0s" {
		t.Error(got)
	}
	if n := s.Asked("n.example."); n != 2 {
		t.Errorf("%d queries, want one by UDP and one by TCP", n)
	}
	// Of SRV records with as many targets only a few are followed.
	all = nil
	for i := range 1000 {
		all = append(all, fmt.Sprintf("60 SRV 0 0 80 t%03d.example.", i))
		s.Says(fmt.Sprintf("t%03d.example.", i), fmt.Sprintf("60 A 10.1.0.%d", 250-i%250))
	}
	s.Says("m.example.", all...)
	o.Record = "SRV"
	before := s.Asked("")
	if got := lookUp(t, o, "m", Endpoint{}).text(); got != "10.1.0.235:80*0 1m0s" {
		t.Error(got)
	}
	if n := s.Asked("") - before; n != 2+mostTargets {
		t.Errorf("%d queries", n)
	}
}

// A target that can't be asked for may be where the node is: its address at hand is not given up for another.
func TestDNSServiceWithOneTargetLost(t *testing.T) {
	s := NewNameServer(t)
	s.Says("n.example.", "60 SRV 0 0 80 a.example.", "60 SRV 0 0 80 b.example.")
	s.Says("a.example.", "60 A 10.0.0.1")
	s.Does(func(w dns.ResponseWriter, q *dns.Msg) bool {
		return q.Question[0].Name == "b.example." && send(w, q, dns.RcodeServerFailure)
	})
	o := DNSOptions{Servers: []string{s.Addr}, Record: "SRV"}
	had := Endpoint{Addr: at("10.0.0.1").Addr, Port: 80}
	if got := lookUp(t, o, "n", had).text(); got != "10.0.0.1:80*0 1m0s" {
		t.Error(got)
	}
	had.Addr = had.Addr.Next()
	if f := lookUp(t, o, "n", had); f.err == nil || errors.Is(f.err, ErrNotMine) {
		t.Error(f.text())
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

// deadAddr is an address on loopback where nobody listens.
func deadAddr(t testing.TB) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().String()
}

func TestDNSLostPacket(t *testing.T) {
	s := NewNameServer(t)
	s.Says("n.example.", "60 A 10.0.0.1")
	s.Does(func(dns.ResponseWriter, *dns.Msg) bool { return s.Asked("n.example.") == 1 })
	if got := lookUp(t, DNSOptions{Servers: []string{s.Addr}, Timeout: 300 * time.Millisecond}, "n", Endpoint{}).text(); got != "10.0.0.1 1m0s" {
		t.Error(got)
	}
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

func TestDNSOptions(t *testing.T) {
	for name, o := range map[string]DNSOptions{
		"record":   {Record: "MX"},
		"server":   {Servers: []string{"ns.example.com"}},
		"port":     {Servers: []string{"10.0.0.1:0"}},
		"timeout":  {Timeout: time.Minute},
		"parallel": {Parallel: -1},
		"suffix":   {Suffix: "..example"},
		"long":     {Suffix: strings.Repeat("x", 64)},
	} {
		if o.Servers == nil {
			o.Servers = []string{"127.0.0.1"}
		}
		if _, err := NewDNS(o); err == nil || !strings.HasPrefix(err.Error(), "dns resolver: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for suffix, want := range map[string]string{"": "n.", "example": "n.example.", ".example": "n.example.", "-dc.example.": "n-dc.example."} {
		n, err := newDNSNames(DNSOptions{Suffix: suffix, Servers: []string{"fd00::53"}}.withDefaults())
		if err != nil || !slices.Equal(n.list("n"), []string{want}) {
			t.Errorf("%q: %v, %v", suffix, n, err)
		}
	}
}

// The whole resolver over a server that stalls and dies: nobody waits, and what was known stays.
func TestDNSWhenTheServerDies(t *testing.T) {
	s := NewNameServer(t)
	s.Says("a.example.", "60 A 10.0.0.1")
	d, err := NewDNS(DNSOptions{Suffix: "example", Servers: []string{s.Addr}, Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	want(t, d.Cache, "a", "10.0.0.1", time.Minute)
	s.Does(func(dns.ResponseWriter, *dns.Msg) bool { return true })
	want(t, d.Cache, "a", "10.0.0.1", time.Minute)
	want(t, d.Cache, "b", s.Addr+": no answer within 50ms", time.Minute)
	expire(d.Cache, "a")
	deadline := time.Now().Add(10 * time.Second)
	for {
		got, err := d.Resolve(t.Context(), nodes("a"))
		if err != nil {
			t.Fatal(err)
		}
		if a := got["a"]; a.Err != nil && strings.Contains(a.Err.Error(), "no answer") && a.Addr == at("10.0.0.1").Addr {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the trouble is not told: %+v", got["a"])
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.Does(nil)
	s.Says("a.example.", "60 A 10.0.0.2")
	for {
		select {
		case <-d.Changed():
		case <-time.After(time.Until(deadline)):
			t.Fatal("not told that the server is back")
		}
		if got, _ := say(t, d.Cache, "a"); got == "10.0.0.2" {
			break
		}
	}
}

func TestDNSThousandsOfNodes(t *testing.T) {
	const many = 2000
	s := NewNameServer(t)
	s.Delay = 50 * time.Millisecond
	for _, id := range ids(many) {
		s.Says(id+".example.", "300 A 10.0.0.1")
	}
	d, err := NewDNS(DNSOptions{Suffix: "example", Servers: []string{s.Addr}, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	all := nodes(ids(many)...)
	LearnAll(t, d.Cache, all)
	before := s.Asked("")
	if before < many || before > many+many/10 {
		t.Errorf("%d queries for %d nodes", before, many)
	}
	for range 20 {
		if got, err := d.Resolve(t.Context(), all); err != nil || len(got) != many {
			t.Fatalf("%d answers, %v", len(got), err)
		}
	}
	if n := s.Asked("") - before; n != 0 {
		t.Errorf("%d queries within the TTL", n)
	}
}

// LearnAll resolves until there is an address for each node.
// Exported for the benchmarks in package resolvers_test.
func LearnAll(t testing.TB, c *Cache, all []pool.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		got, err := c.Resolve(ctx, all)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, a := range got {
			if a.Err == nil {
				found++
			}
		}
		if found == len(all) {
			return
		}
		select {
		case <-c.Changed():
		case <-ctx.Done():
			t.Fatalf("only %d of %d nodes have an address", found, len(all))
		}
	}
}
