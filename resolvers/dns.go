package resolvers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// DNSOptions say which names are asked for, and of whom.
type DNSOptions struct {
	Suffix   string        `yaml:"suffix"`      // added to the node's id; ".internal.example.com". Empty: the id is the name
	Prefix   string        `yaml:"prefix"`      // put before the id, like "_http._tcp." for SRV
	Record   string        `yaml:"record"`      // A (default), AAAA, or SRV, which gives port and weight, too
	Servers  []string      `yaml:"servers"`     // "IP" or "IP:port", asked in turn; empty: those of resolv_conf, read again when that changes
	Search   bool          `yaml:"search"`      // also try the search list of resolv_conf; default no
	Timeout  time.Duration `yaml:"timeout"`     // for one server to answer; default 1s, at most 10s
	Parallel int           `yaml:"parallel"`    // names asked for at once; default 256
	Resolv   string        `yaml:"resolv_conf"` // default /etc/resolv.conf
}

func (o DNSOptions) withDefaults() DNSOptions {
	o.Record = strings.ToUpper(cmp.Or(o.Record, "A"))
	o.Timeout = cmp.Or(o.Timeout, time.Second)
	o.Parallel = cmp.Or(o.Parallel, 256)
	o.Resolv = cmp.Or(o.Resolv, "/etc/resolv.conf")
	// "example.com" means ".example.com"; "-web.example.com" means what it says.
	if o.Suffix != "" && !strings.ContainsAny(o.Suffix[:1], ".-") {
		o.Suffix = "." + o.Suffix
	}
	return o
}

func (o DNSOptions) check() error {
	const most = 1000
	switch {
	case o.Timeout < 0 || o.Timeout > 10*time.Second:
		return fmt.Errorf("timeout %v is not between 0s and 10s", o.Timeout)
	case o.Parallel < 1 || o.Parallel > most:
		return fmt.Errorf("parallel %d is not between 1 and %d", o.Parallel, most)
	case !isName(o.Prefix + "n" + o.Suffix):
		return fmt.Errorf("prefix %q and suffix %q don't make a name", o.Prefix, o.Suffix)
	}
	return nil
}

// DNS resolves nodes by name. What the name servers say becomes:
//
//	an address    NOERROR with records of the type asked for, for that name or the end of its chain of CNAMEs
//	"not mine"    NXDOMAIN; NOERROR without such a record (NODATA); an id that can be no name; an SRV target "."
//	"cannot know" SERVFAIL, REFUSED and all other codes; no answer in time, or none that can be read; a referral
//	              from a server that doesn't recurse; a chain of CNAMEs that doesn't end
//
// Of several addresses the one at hand is kept while it is among them, else it is the smallest, so that the order in
// which servers hand them out changes nothing. Of SRV records those of the lowest priority count. An answer is good
// for its TTL, from 5 s to 1 h; "not mine" for what the zone's SOA says (RFC 2308), from 5 s to 1 min. Names are asked
// for again ahead of time, see Cache.
type DNS struct{ *Cache }

// NewDNS returns the resolver; nothing is asked before the first Resolve.
func NewDNS(o DNSOptions) (*DNS, error) {
	o = o.withDefaults()
	n, err := newDNSNames(o)
	if err != nil {
		return nil, fmt.Errorf("dns resolver: %w", err)
	}
	return &DNS{newCache(n.look, limits{ttl: leastTTL, timeout: dnsLookup, parallel: o.Parallel, batch: 1})}, nil
}

const dnsLookup = 20 * time.Second // for all questions about one node: tries, servers, aliases, targets

// dnsNames looks up nodes by name.
type dnsNames struct {
	prefix, suffix string
	search         bool
	servers        *dnsServers
	find           func(ctx context.Context, name string, had Endpoint) finding
}

func newDNSNames(o DNSOptions) (*dnsNames, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	servers, err := newDNSServers(o)
	if err != nil {
		return nil, err
	}
	n := &dnsNames{prefix: o.Prefix, suffix: o.Suffix, search: o.Search, servers: servers}
	switch o.Record {
	case "A":
		n.find = n.address(dns.TypeA)
	case "AAAA":
		n.find = n.address(dns.TypeAAAA)
	case "SRV":
		n.find = n.service
	default:
		return nil, fmt.Errorf("record %.20q is not one of A, AAAA, SRV", o.Record)
	}
	return n, nil
}

// look is the Cache's lookup, for one node at a time.
func (n *dnsNames) look(ctx context.Context, asks []question) []finding {
	none := finding{err: ErrNotMine, ttl: mostNegative}
	for _, name := range n.list(asks[0].id) {
		f := n.find(ctx, name, asks[0].had)
		if !errors.Is(f.err, ErrNotMine) {
			return []finding{f}
		}
		none.ttl = min(none.ttl, f.ttl)
	}
	return []finding{none}
}

// list gives the fully qualified names to try for a node.
func (n *dnsNames) list(id string) []string {
	name := n.prefix + id + n.suffix
	all := []string{dns.Fqdn(name)}
	if n.search {
		all = n.servers.searched(name)
	}
	return slices.DeleteFunc(all, func(name string) bool { return !isName(name) })
}

func isName(s string) bool {
	_, ok := dns.IsDomainName(s)
	return ok
}

// address looks up addresses of one family.
func (n *dnsNames) address(qtype uint16) func(context.Context, string, Endpoint) finding {
	return func(ctx context.Context, name string, had Endpoint) finding {
		addrs, ttl, err := n.hosts(ctx, name, qtype)
		if err != nil {
			return finding{err: err, ttl: ttl}
		}
		all := make([]Endpoint, len(addrs))
		for i, a := range addrs {
			all[i].Addr = a
		}
		return finding{Endpoint: keep(had, all), ttl: ttl}
	}
}

// hosts gives at least one address, or an error.
func (n *dnsNames) hosts(ctx context.Context, name string, qtype uint16) ([]netip.Addr, time.Duration, error) {
	records, ttl, err := n.servers.query(ctx, name, qtype)
	if err != nil {
		return nil, ttl, err
	}
	var addrs []netip.Addr
	for _, rr := range records {
		var ip net.IP
		switch rr := rr.(type) {
		case *dns.A:
			ip = rr.A
		case *dns.AAAA:
			ip = rr.AAAA
		}
		if a, ok := netip.AddrFromSlice(ip); ok {
			addrs = append(addrs, a.Unmap())
		}
	}
	if len(addrs) == 0 {
		return nil, ttl, errors.New("the answer holds no address")
	}
	return addrs, ttl, nil
}

// keep chooses of several endpoints the one at hand, else the smallest.
func keep(had Endpoint, all []Endpoint) Endpoint {
	for _, e := range all {
		if e.Addr == had.Addr && e.Port == had.Port {
			return e
		}
	}
	return slices.MinFunc(all, func(a, b Endpoint) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Port, b.Port))
	})
}
