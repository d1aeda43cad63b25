// Package resolvertest holds a resolver against the contract of resolvers.Resolver. It is for the tests of whoever
// writes one; run them with -race:
//
//	func TestConformance(t *testing.T) {
//		resolvertest.Run(t, resolvertest.Case{
//			New:     func(t testing.TB) resolvers.Resolver { return cmdb.New(server.URL) },
//			Known:   map[string]resolvers.Endpoint{"web1": {Addr: netip.MustParseAddr("10.0.1.10")}},
//			NotMine: []string{"stranger"},
//		})
//	}
//
// It demands what the contract promises to the chain, and no more. It does not measure speed.
package resolvertest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/resolvers"
)

// Case is a resolver with a source whose answers are known.
type Case struct {
	// New makes the resolver, a fresh one each time; the suite closes it, if it is an io.Closer. Servers that it asks
	// must run already: what New starts and Close does not end counts as left behind.
	New func(t testing.TB) resolvers.Resolver

	// What the source says of which node, at all times. Each node is asked about alone and among all others.
	Known      map[string]resolvers.Endpoint // at least one
	NotMine    []string
	CannotKnow []string // the source fails for it
	Refused    []string // by the resolver, or its address by the door

	// Node makes the node that the resolver is asked about. Default: it has an id, and nothing else.
	Node func(id string) pool.Node
	// Door is the one that answers pass. Default: all unicast addresses but loopback and link-local ones.
	Door resolvers.Door

	// Hang makes a resolver whose source does not answer; New's rules hold. nil: it has no source that could hang.
	Hang func(t testing.TB) resolvers.Resolver
	// Change makes the source say something new of some nodes and returns that. A Notifier must tell of it. It is
	// called once, after all else. nil: it can't be tested.
	Change func(t testing.TB) map[string]resolvers.Endpoint

	// Shared: several chains may ask one such resolver at the same time. The contract does not ask for it.
	Shared bool
	// Most is the size of the largest batch. Default 10,000.
	Most int
	// Within is how long a Notifier may need until it knows all that it is asked. Default 10 s. Any other resolver
	// must know at once.
	Within time.Duration
}

// Run runs the suite, each rule as a test of its own. Nothing else may start goroutines meanwhile: the test that calls
// it is not a parallel one.
func Run(t *testing.T, c Case) {
	t.Helper()
	c, err := c.complete()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		if r.applies(c) {
			t.Run(r.name, func(t *testing.T) {
				if err := r.run(t, c); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func (c Case) complete() (Case, error) {
	if c.New == nil || len(c.Known) == 0 {
		return c, errors.New("resolvertest: a case needs New and at least one Known node")
	}
	for id, e := range c.Known {
		if err := c.Door.Pass(e); err != nil {
			return c, fmt.Errorf("resolvertest: the case's own %s does not pass its door: %w", id, err)
		}
	}
	if c.Node == nil {
		c.Node = func(id string) pool.Node { return pool.Node{ID: id} }
	}
	if c.Most == 0 {
		c.Most = 10_000
	}
	if c.Within == 0 {
		c.Within = 10 * time.Second
	}
	return c, nil
}

// run makes the rule's resolver, has the rule look at it, closes it, and sees what is left.
func (r rule) run(t testing.TB, c Case) error {
	before := goleak.IgnoreCurrent()
	source := c.New
	if r.hangs {
		source = c.Hang
	}
	s := &subject{Case: c, t: t, Resolver: source(t)}
	err := r.check(s)
	if cerr := s.close(); cerr != nil {
		return errors.Join(err, cerr)
	}
	if leak := goleak.Find(before); leak != nil {
		err = errors.Join(err, fmt.Errorf("it leaves goroutines behind after Close: %w", leak))
	}
	return err
}
