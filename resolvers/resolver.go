// Package resolvers finds the address of each node: the main extension point. It holds the contract, the chain that
// asks several resolvers in the config's order, the door that every answer must pass, and the resolvers that ship:
// redis, static, dns, callback, and what makes a function one. It does not decide which nodes get traffic, and it keeps
// nothing on disk.
package resolvers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/bazbeans/bazbeans/pool"
)

// Resolver says where nodes are. There are three possible outcomes for a node:
//
//   - an address: the answer's Addr is valid;
//   - "not mine": the node is not in the answers, and the next resolver of the chain is asked;
//   - "cannot know" (a time-out, a server that fails): the answer's Err is set, or, for all nodes without an answer,
//     the returned error is. The chain then keeps the address last known.
//
// An answer whose Err is a *RefusedError is a fourth thing: there is an answer, and it is not acceptable. It ends the
// search for that node, so that a bad entry never falls through to a fallback.
//
// What the caller may assume: one call serves a whole batch, of none, one or ten thousand nodes; it returns soon after
// ctx ends with what it found by then, and what it had no time for is "cannot know", never "not mine"; the answers
// are the caller's from then on; Resolve does not keep or change nodes.
//
// What the resolver may assume: a chain calls Resolve again only when the call before has returned; answers for nodes
// that were not asked about are ignored; what it says is checked at the Door.
//
// A resolver that holds something open, goroutines included, also implements io.Closer; the chain that it is a link
// of closes it, once, and even while a call that outlived its ctx still runs. One that learns between two calls
// implements Notifier. Package resolvertest holds a resolver against all this.
type Resolver interface {
	Resolve(ctx context.Context, nodes []pool.Node) (Answers, error)
}

// Notifier is a Resolver that may know something new between two calls of Resolve. The channel gets a value then, and
// need not hold more than one; it is the same at each call and never closed. Changed may be called while Resolve runs.
type Notifier interface {
	Changed() <-chan struct{}
}

// Answers maps node ids to what a resolver found.
type Answers map[string]Answer

// Answer is one outcome.
type Answer struct {
	Endpoint
	Err error
}

// Endpoint is where a node is.
type Endpoint struct {
	Addr   netip.Addr
	Port   uint16 // 0: the resolver does not say; the node's registration or the config does
	Weight int    // 1 to pool.MaxWeight; 0: the resolver does not say
}

// ParseEndpoint reads "IP", "IP:port" or "[IPv6]:port".
func ParseEndpoint(s string) (Endpoint, error) {
	if a, err := pool.ParseAddress(s); err == nil {
		return Endpoint{Addr: a}, nil
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil || ap.Port() == 0 || ap.Addr().Zone() != "" {
		return Endpoint{}, refusedf("%.80q is not an IP address, or one with a port (like 10.0.1.10 or 10.0.1.10:8000)", s)
	}
	return Endpoint{Addr: ap.Addr().Unmap(), Port: ap.Port()}, nil
}

// RefusedError says that an answer is not acceptable.
type RefusedError struct{ Why string }

func (e *RefusedError) Error() string { return e.Why }

func refusedf(format string, args ...any) *RefusedError {
	return &RefusedError{Why: fmt.Sprintf(format, args...)}
}

// IsRefused reports whether err says that an answer is not acceptable.
func IsRefused(err error) bool {
	var r *RefusedError
	return errors.As(err, &r)
}

// Func makes a function a Resolver.
type Func func(ctx context.Context, nodes []pool.Node) (Answers, error)

// Resolve calls f.
func (f Func) Resolve(ctx context.Context, nodes []pool.Node) (Answers, error) { return f(ctx, nodes) }
