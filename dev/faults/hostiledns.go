package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// dnsRow is about a DNS server that lies, and then breaks.
func dnsRow() Row {
	return Row{
		Name:     "hostile: DNS answers",
		Does:     "a name server answers with metadata addresses, 1,000 records, another name's record, SERVFAIL; then with SERVFAIL to all, then to nobody",
		MustHold: "what may not be is refused and named, what can't be known takes nobody out",
		Setup: Setup{
			Config: "resolvers: [{dns: {suffix: .test, servers: ['SITE_DNS'], timeout: 500ms}}, {redis: {}}]\n",
			DNS:    true,
		},
		Run: func(s *Site) {
			untouched := s.untouched()
			for _, id := range []string{"meta", "loop", "many", "other", "servfail"} {
				s.forge(forged{id: "dns-" + id, agent: "1.0", fields: map[string]string{"port": "66"}})
			}
			s.quarantined(soon, "dns-meta", "dns-loop", "dns-many")
			s.serves(2*time.Second, s.all()...)
			for _, m := range []dnsMode{dnsBroken, dnsSilent} {
				s.dns.mode.Store(int32(m))
				s.serves(6*time.Second, s.all()...) // longer than an answer is kept
			}
			s.dns.mode.Store(int32(dnsLies))
			untouched()
			s.worksOn()
		},
	}
}

type dnsMode int32

const (
	dnsLies   dnsMode = iota // about the names that begin with dns-; all others do not exist
	dnsBroken                // SERVFAIL
	dnsSilent
)

// nameServer is a DNS server for the zone test, over UDP and TCP.
type nameServer struct {
	servers []*dns.Server
	ended   sync.WaitGroup
	addr    string
	mode    atomic.Int32
}

func startNameServer() (*nameServer, error) {
	stream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start name server: %w", err)
	}
	d := &nameServer{addr: stream.Addr().String()}
	packets, err := net.ListenPacket("udp", d.addr)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start name server: %w", err), stream.Close())
	}
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: d}, {Listener: stream, Handler: d}} {
		ready := make(chan struct{})
		server.NotifyStartedFunc = func() { close(ready) }
		d.ended.Go(func() { _ = server.ActivateAndServe() }) // it ends by close
		<-ready
		d.servers = append(d.servers, server)
	}
	return d, nil
}

func (d *nameServer) close() error {
	var errs []error
	for _, server := range d.servers {
		errs = append(errs, server.Shutdown())
	}
	d.ended.Wait()
	return errors.Join(errs...)
}

// ServeDNS answers one question.
func (d *nameServer) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	name := q.Question[0].Name
	a := func(owner, ip string) {
		m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 0}, A: net.ParseIP(ip)})
	}
	host, _, _ := strings.Cut(name, ".")
	switch mode := dnsMode(d.mode.Load()); {
	case mode == dnsSilent:
		return
	case mode == dnsBroken, host == "dns-servfail":
		m.Rcode = dns.RcodeServerFailure
	case host == "dns-meta":
		a(name, "169.254.169.254")
	case host == "dns-loop":
		a(name, "0.0.0.0")
	case host == "dns-many":
		for i := range 1000 {
			a(name, fmt.Sprintf("224.0.%d.%d", i/250, i%250+1))
		}
	case host == "dns-other":
		a("web1.test.", "127.0.0.66")
	default:
		m.Rcode = dns.RcodeNameError
	}
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		m.Truncate(dns.MinMsgSize)
	}
	_ = w.WriteMsg(m) // a client that has gone asks again
}
