package resolvers

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// NameServer is a real name server on loopback, UDP and TCP on one port, whose answers a test decides.
// Exported for the tests in package resolvers_test.
type NameServer struct {
	Addr  string
	Delay time.Duration // before it answers; set it before the first query

	mu      sync.Mutex
	zone    map[string][]string // name -> records in zone-file form, without the name
	answer  func(w dns.ResponseWriter, q *dns.Msg) bool
	queries map[string]int // "udp n1.example." -> how often
}

const zoneSOA = "example. 300 IN SOA ns.example. me.example. 1 3600 600 86400 30"

func NewNameServer(t testing.TB) *NameServer {
	t.Helper()
	s := &NameServer{zone: map[string][]string{}, queries: map[string]int{}}
	var packets net.PacketConn
	var stream net.Listener
	for range 10 { // the port that is free for UDP may be taken for TCP
		var err error
		if packets, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if stream, err = net.Listen("tcp", packets.LocalAddr().String()); err == nil {
			break
		}
		packets.Close()
	}
	if stream == nil {
		t.Fatal("no port is free for both UDP and TCP")
	}
	s.Addr = packets.LocalAddr().String()
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: s}, {Listener: stream, Handler: s}} {
		started, ended := make(chan struct{}), make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() { _ = server.ActivateAndServe(); close(ended) }()
		<-started
		t.Cleanup(func() { _ = server.Shutdown(); <-ended })
	}
	return s
}

// Says sets the records of a name: "60 A 10.0.0.1"; none at all is NODATA.
func (s *NameServer) Says(name string, records ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone[name] = records
}

// Does puts fn before the zone; it returns false for what the zone is to answer.
func (s *NameServer) Does(fn func(w dns.ResponseWriter, q *dns.Msg) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = fn
}

func (s *NameServer) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	name := strings.ToLower(q.Question[0].Name)
	s.mu.Lock()
	s.queries[w.LocalAddr().Network()+" "+name]++
	answer := s.answer
	records, known := s.zone[name]
	s.mu.Unlock()
	time.Sleep(s.Delay) // the network's latency
	if answer != nil && answer(w, q) {
		return
	}
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	for _, text := range records {
		rr := record(q.Question[0].Name + " " + text)
		if t := rr.Header().Rrtype; t == q.Question[0].Qtype || t == dns.TypeCNAME {
			m.Answer = append(m.Answer, rr)
		}
	}
	if len(m.Answer) == 0 {
		m.Ns = append(m.Ns, record(zoneSOA))
	}
	if !known {
		m.Rcode = dns.RcodeNameError
	}
	if opt := q.IsEdns0(); opt != nil {
		m.SetEdns0(opt.UDPSize(), false)
	}
	if w.LocalAddr().Network() == "udp" {
		m.Truncate(1232)
	}
	_ = w.WriteMsg(m)
}

// Asked counts the queries for a name, and for all with "".
func (s *NameServer) Asked(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for key, times := range s.queries {
		if name == "" || key == "udp "+name || key == "tcp "+name {
			n += times
		}
	}
	return n
}

func record(text string) dns.RR {
	rr, err := dns.NewRR(text)
	if err != nil {
		panic(err)
	}
	return rr
}

// send answers with a code and records of whatever names.
func send(w dns.ResponseWriter, q *dns.Msg, code int, records ...string) bool {
	m := new(dns.Msg).SetRcode(q, code)
	for _, text := range records {
		m.Answer = append(m.Answer, record(text))
	}
	_ = w.WriteMsg(m)
	return true
}
