package resolvers

import (
	"errors"
	"fmt"
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
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
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
	if got := lookUp(t, o, "n", Endpoint{}).text(); got != "10.0.0.1:80*0 1m0s" {
		t.Errorf("new, and one target is enough: %s", got)
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
