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
	// Former says that it is no more in what is wanted: its peers are those that were pushed last, for an Nginx that may
	// still use it.
	Former bool
}

// Key names a peer over changes of the set: a node that moves to another address is another peer.
type Key struct {
	Upstream string
	ID       string
	Addr     netip.AddrPort
}

// Key of the peer in an upstream.
func (p Peer) Key(upstream string) Key { return Key{upstream, p.ID, p.Addr} }

// State is what a running Nginx says of its peers.
type State struct {
	// Busy is what is under way on each peer, also on those gone: requests (lua) or connections (resolve). What is not
	// there has nothing.
	Busy map[Key]int
	// Workers are the processes whose requests are in Busy, in Nginx's PID namespace; nil where it does not go by workers.
	Workers []int
	// Generation is the newest such that what begins now goes by it or a later one; Pending says what keeps it from the last
	// one that was pushed, "" for nothing.
	Generation int64
	Pending    string
	// Lost says that what was pushed last is not there any more.
	Lost bool
	// Trouble is what went wrong inside Nginx, for people; "" for nothing.
	Trouble string
}

// Channel takes peers into a running Nginx. Its methods are called by one goroutine.
type Channel interface {
	// Push makes Nginx go by m, whole, in one step. An error means that it goes by what it did.
	Push(ctx context.Context, m Message) error
	// Current returns what was pushed last into the Nginx that runs; false when nothing was.
	Current(ctx context.Context) (Message, bool, error)
	State(ctx context.Context) (State, error)
	// Forget drops the counts of workers that have ended without a word.
	Forget(ctx context.Context, workers []int) error
}
