// Package live says what a live engine takes into a running Nginx without a reload: the peers of upstreams, and how they
// are written down. It does not talk to Nginx (packages lua and names below it do), and does not decide who serves.
package live

import (
	"context"
	"net/netip"
	"time"
)

// Peer is one server of a live upstream.
type Peer struct {
	Slot        int    // its place in tables of counts; see Message
	ID          string // of the node; "" for a fallback
	Addr        netip.AddrPort
	Weight      int
	MaxFails    int
	FailTimeout time.Duration // whole seconds
	MaxConns    int           // 0: no limit
	SlowStart   time.Duration // whole seconds until it has its full weight; 0: at once
	Since       time.Time     // whole seconds: when it came in; zero: it was there already
	Down        bool          // keeps its place and gets nothing
	Backup      bool
	Gone        bool // no peer any more; requests may still be under way on its slot
}

// Upstream is a live upstream: its peers in the order of the server lines.
type Upstream struct {
	Name  string
	Peers []Peer
}

// State is what a running Nginx says of its peers.
type State struct {
	// Busy is what is under way on each node, by id: requests (lua) or connections (resolve). A node may be gone from the
	// upstreams. What is not there has nothing.
	Busy map[string]int
	// Workers are the processes whose requests are in Busy; nil where it does not go by workers.
	Workers []int
	// Pending says why new requests may still go by an older set; "" when none does.
	Pending string
}

// Channel takes peers into a running Nginx.
type Channel interface {
	// Push makes Nginx go by upstreams, all of them, in one step. An error means that it goes by what it did.
	Push(ctx context.Context, generation int64, upstreams []Upstream) error
	State(ctx context.Context) (State, error)
}
