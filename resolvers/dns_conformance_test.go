package resolvers_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/bazbeans/bazbeans/resolvers"
	"github.com/bazbeans/bazbeans/resolvers/resolvertest"
)

func TestDNSConforms(t *testing.T) {
	silent, s := resolvers.NewNameServer(t), resolvers.NewNameServer(t)
	silent.Does(func(dns.ResponseWriter, *dns.Msg) bool { return true })
	s.Does(func(w dns.ResponseWriter, q *dns.Msg) bool {
		if q.Question[0].Name != "down.example." {
			return false
		}
		_ = w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeServerFailure))
		return true
	})
	s.Says("web1.example.", "5 SRV 0 7 8080 host1.example.")
	s.Says("host1.example.", "5 A 10.0.1.10")
	s.Says("web2.example.", "5 SRV 0 0 80 host2.example.")
	s.Says("host2.example.", "5 AAAA fd00::2")
	s.Says("local.example.", "5 SRV 0 0 80 localhost.example.")
	s.Says("localhost.example.", "5 A 127.0.0.1")
	s.Says("nodata.example.", "5 A 10.0.1.11")
	open := func(server string) func(testing.TB) resolvers.Resolver {
		return func(t testing.TB) resolvers.Resolver {
			d, err := resolvers.NewDNS(resolvers.DNSOptions{Suffix: ".example", Servers: []string{server}, Record: "SRV", Timeout: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
	}
	web1 := resolvers.Endpoint{Addr: netip.MustParseAddr("10.0.1.10"), Port: 8080, Weight: 7}
	resolvertest.Run(t, resolvertest.Case{
		New: open(s.Addr), Hang: open(silent.Addr),
		Known:   map[string]resolvers.Endpoint{"web1": web1, "web2": {Addr: netip.MustParseAddr("fd00::2"), Port: 80}},
		NotMine: []string{"stranger", "nodata"}, CannotKnow: []string{"down"}, Refused: []string{"local"},
		Shared: true, Within: time.Minute,
		Change: func(testing.TB) map[string]resolvers.Endpoint {
			s.Says("host1.example.", "5 A 10.0.1.99")
			web1.Addr = netip.MustParseAddr("10.0.1.99")
			return map[string]resolvers.Endpoint{"web1": web1}
		},
	})
}
