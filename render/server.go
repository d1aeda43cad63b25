package render

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"

	"github.com/bazbeans/bazbeans/pool"
)

// Server is one node that should be in the upstream, already typed at the door.
type Server struct {
	ID         string // passes pool.CheckID, unique
	Addr       netip.AddrPort
	Weight     int  // 0 to pool.MaxWeight; 0: down
	Down       bool // keeps its place and gets nothing: a frozen node, where Balance.KeepsPlaces
	DataCenter Text
	Labels     map[string]Text // names pass pool.CheckID
}

// check returns an error when s, which the caller should have typed at the door, is not fit for a configuration.
func (s Server) check() error {
	if err := pool.CheckID(s.ID); err != nil {
		return err
	}
	if err := checkAddr(s.Addr); err != nil {
		return fmt.Errorf("node %s: %w", s.ID, err)
	}
	if s.Weight < 0 || s.Weight > pool.MaxWeight {
		return fmt.Errorf("node %s: weight %d is not a number from 0 to %d", s.ID, s.Weight, pool.MaxWeight)
	}
	for name := range s.Labels {
		if err := pool.CheckID(name); err != nil {
			return fmt.Errorf("node %s: label name %.80q is not allowed: use 1 to 128 of A-Z a-z 0-9 . _ -", s.ID, name)
		}
	}
	return nil
}

func checkAddr(addr netip.AddrPort) error {
	if ip := addr.Addr().Unmap(); !ip.IsValid() || ip.Zone() != "" || ip.IsUnspecified() || addr.Port() == 0 {
		return fmt.Errorf("address %q is not an IP address with a port (like 10.0.1.10:8000 or [fd00::10]:8000)", addr.String())
	}
	return nil
}

// inOrder returns the servers in the order in which Nginx shall have them, whatever order they came in.
func inOrder(b Balance, servers []Server, seed string) []Server {
	type keyed struct {
		key string
		Server
	}
	list := make([]keyed, len(servers))
	for i, s := range servers {
		list[i] = keyed{s.ID, s}
		if !b.KeepsPlaces() {
			hash := sha256.Sum256([]byte(seed + "\x00" + s.ID))
			list[i].key = string(hash[:])
		}
	}
	slices.SortFunc(list, func(a, b keyed) int { return cmp.Compare(a.key, b.key) })
	sorted := make([]Server, len(list))
	for i, k := range list {
		sorted[i] = k.Server
	}
	return sorted
}
