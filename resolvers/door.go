package resolvers

import (
	"fmt"
	"net/netip"

	"github.com/bazbeans/bazbeans/pool"
)

// Door decides which addresses may become servers of an upstream, whoever said them.
type Door struct {
	// Networks are the allowed ones. Empty: any unicast address but loopback and link-local (a cloud's metadata
	// service lives there). A network named here is allowed even if it is one of those.
	Networks []netip.Prefix
}

// ParseNetworks reads networks in CIDR form; a plain address is a network of one.
func ParseNetworks(texts []string) ([]netip.Prefix, error) {
	var nets []netip.Prefix
	for _, s := range texts {
		p, err := netip.ParsePrefix(s)
		if a, aerr := netip.ParseAddr(s); err != nil && aerr == nil && a.Zone() == "" {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("network %.80q is not of the form 10.0.0.0/8 or fd00::/8", s)
		}
		nets = append(nets, p.Masked())
	}
	return nets, nil
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// Pass is Check for all that a resolver says of a node.
func (d Door) Pass(e Endpoint) error {
	if e.Weight < 0 || e.Weight > pool.MaxWeight {
		return refusedf("weight %d is not a number from 0 to %d", e.Weight, pool.MaxWeight)
	}
	return d.Check(e.Addr)
}

// Check returns a *RefusedError for an address that may not get traffic.
func (d Door) Check(a netip.Addr) error {
	switch a = a.Unmap(); {
	case !a.IsValid(), a.Zone() != "":
		return refusedf("there is no usable address")
	case a.IsUnspecified(), a.IsMulticast(), a == broadcast:
		return refusedf("address %s is not one of a single host", a)
	}
	for _, p := range d.Networks {
		if p.Contains(a) {
			return nil
		}
	}
	switch {
	case len(d.Networks) > 0:
		return refusedf("address %s is in none of allow_networks", a)
	case a.IsLoopback():
		return refusedf("address %s is loopback: name its network in allow_networks if that is meant", a)
	case a.IsLinkLocalUnicast():
		return refusedf("address %s is link-local: name its network in allow_networks if that is meant", a)
	}
	return nil
}
