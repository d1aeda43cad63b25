package resolvers

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/bazbeans/bazbeans/pool"
)

// mostTargets of one node's SRV records are looked at; a node has one, or a few for its several addresses.
const mostTargets = 16

// service looks up SRV records and the addresses of their targets. Addresses that come along with the records are not
// believed: they are of other names than the one that was asked for. A weight is cut to pool.MaxWeight; 0 says nothing.
func (n *dnsNames) service(ctx context.Context, name string, had Endpoint) finding {
	records, ttl, err := n.servers.query(ctx, name, dns.TypeSRV)
	if err != nil {
		return finding{err: err, ttl: ttl}
	}
	var all []Endpoint
	var trouble error
	for _, srv := range targets(records) {
		addrs, good, err := n.hosts(ctx, srv.Target, dns.TypeA)
		if errors.Is(err, ErrNotMine) {
			var good6 time.Duration
			addrs, good6, err = n.hosts(ctx, srv.Target, dns.TypeAAAA)
			good = min(good, good6)
		}
		if err != nil && !errors.Is(err, ErrNotMine) {
			trouble = err
			continue
		}
		ttl = min(ttl, good)
		for _, a := range addrs {
			all = append(all, Endpoint{Addr: a, Port: srv.Port, Weight: min(int(srv.Weight), pool.MaxWeight)})
		}
	}
	if len(all) == 0 {
		return finding{err: cmp.Or(trouble, ErrNotMine), ttl: ttl}
	}
	best := keep(had, all)
	if trouble != nil && had.Addr.IsValid() && best.Addr != had.Addr {
		return finding{err: trouble} // the one at hand may be what could not be asked for
	}
	return finding{Endpoint: best, ttl: ttl}
}

// targets are the records of the lowest priority that name a service, always in the same order.
func targets(records []dns.RR) []*dns.SRV {
	var all []*dns.SRV
	for _, rr := range records {
		if srv, ok := rr.(*dns.SRV); ok && srv.Target != "." && srv.Port != 0 {
			all = append(all, srv)
		}
	}
	slices.SortFunc(all, func(a, b *dns.SRV) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), strings.Compare(a.Target, b.Target), cmp.Compare(a.Port, b.Port))
	})
	for i, srv := range all {
		if srv.Priority != all[0].Priority || i == mostTargets {
			return all[:i]
		}
	}
	return all
}
