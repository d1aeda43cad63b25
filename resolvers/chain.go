package resolvers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/bazbeans/bazbeans/pool"
)

// Link is one resolver of a chain.
type Link struct {
	Name     string // shown to people: redis, static, …
	Resolver Resolver
	Next     bool // on "cannot know" ask the next link, although an older address of this one is at hand; the default keeps that
}

// Resolution is what a chain found out about one node.
type Resolution struct {
	Endpoint
	Link  string // which one said it; "" when none did
	Stale bool   // it is the address last known: nobody could say anything now
	Err   error  // no address: why. With Stale: why it could not be renewed. A *RefusedError when it was refused

	place int // of Link in the chain
}

// Found reports whether there is an address.
func (r Resolution) Found() bool { return r.Addr.IsValid() }

// Pending reports whether there is no new address because a link is still finding out: it will tell. See Notifier.
func (r Resolution) Pending() bool { return errors.Is(r.Err, errNotYet) }

// Chain asks its links in order. It remembers the last address of each node, for when nobody can know.
// It is for one caller at a time.
type Chain struct {
	// Observe, if set before the first Resolve, is told what asking a link came to.
	Observe func(link string, took time.Duration, nodes map[Outcome]int)

	links []*asker
	door  Door
	last  map[string]Resolution
}

// Timeout bounds what a Chain's Resolve takes, whatever its links do. Each link may take an even share of the time
// that is left, so that a slow one leaves the others theirs, and a quick one leaves its own to them: the first of
// three has a third of a second, and the second, if that was quick, nearly half of one.
const Timeout = time.Second

// NewChain returns a chain over at least one link.
func NewChain(door Door, links ...Link) (*Chain, error) {
	if len(links) == 0 {
		return nil, errors.New("resolver chain: no resolver given")
	}
	c := &Chain{door: door, last: map[string]Resolution{}}
	for _, l := range links {
		c.links = append(c.links, &asker{Link: l})
	}
	return c, nil
}

// Close closes the links that have something to close.
func (c *Chain) Close() error {
	var errs *multierror.Error
	for _, l := range c.links {
		if closer, ok := l.Resolver.(io.Closer); ok {
			if err := closer.Close(); err != nil {
				errs = multierror.Append(errs, fmt.Errorf("close %s: %w", l.Name, err))
			}
		}
	}
	return errs.ErrorOrNil()
}

// Watch calls fn whenever a link knows something new, until ctx ends.
func (c *Chain) Watch(ctx context.Context, fn func()) {
	var wg sync.WaitGroup
	for _, l := range c.links {
		if n, ok := l.Resolver.(Notifier); ok {
			wg.Go(func() {
				for {
					select {
					case <-ctx.Done():
						return
					case <-n.Changed():
						fn()
					}
				}
			})
		}
	}
	wg.Wait()
}

// Names lists the links in the order in which they are asked.
func (c *Chain) Names() []string {
	names := make([]string, len(c.links))
	for i, l := range c.links {
		names[i] = l.Name
	}
	return names
}

// Recall gives the chain addresses that were good before it was made. They serve nodes that nobody can know, as stale;
// what any link finds counts for more.
func (c *Chain) Recall(last map[string]Endpoint) {
	for id, e := range last {
		if c.door.Pass(e) == nil {
			c.last[id] = Resolution{Endpoint: e, place: len(c.links)}
		}
	}
}

// Resolve finds the addresses of nodes; there is a Resolution for each id. The error collects what went wrong in the
// links, for the log: of each that cannot know some nodes, the first of them and why. Addresses that were found are
// good all the same. It returns within Timeout; nodes must not be changed afterwards, for a resolver that does not return
// in time may still read them.
func (c *Chain) Resolve(ctx context.Context, nodes []pool.Node) (map[string]Resolution, error) {
	found := make(map[string]Resolution, len(nodes))
	unknown := make(map[string]error) // id -> why a link could not know
	var errs *multierror.Error
	open := nodes
	began := time.Now()
	for i, link := range c.links {
		if len(open) == 0 {
			break
		}
		share := (Timeout - time.Since(began)) / time.Duration(len(c.links)-i)
		answers, took, err := link.ask(ctx, share, open)
		trouble := err
		var rest []pool.Node
		count := map[Outcome]int{}
		for j := range open {
			id := open[j].ID
			s := c.door.Said(id, answers, err)
			if s.Outcome == CannotKnow && trouble == nil {
				trouble = fmt.Errorf("%s: %w", id, s.Err) // the first tells enough
			}
			count[s.Outcome]++
			if r, done := c.decide(i, id, s, unknown); done {
				found[id] = r
			} else {
				rest = append(rest, open[j])
			}
		}
		if trouble != nil {
			errs = multierror.Append(errs, fmt.Errorf("%s: %w", link.Name, trouble))
		}
		if c.Observe != nil {
			c.Observe(link.Name, took, count)
		}
		open = rest
	}
	for _, n := range open {
		found[n.ID] = c.undecided(n.ID, unknown)
	}
	c.remember(found)
	if errs != nil {
		errs.ErrorFormat = oneLine
	}
	return found, errs.ErrorOrNil()
}

func oneLine(errs []error) string {
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// decide says what follows from one link's word on a node; done is false when the next link is to be asked.
func (c *Chain) decide(place int, id string, s Said, unknown map[string]error) (r Resolution, done bool) {
	link := c.links[place]
	switch s.Outcome {
	case Found, Refused:
		return Resolution{Endpoint: s.Endpoint, Link: link.Name, Err: s.Err, place: place}, true
	case NotMine:
		return r, false
	}
	err := fmt.Errorf("%s cannot know: %w", link.Name, s.Err)
	// What a later link said last is not this one's to keep: that link is asked again.
	if old, known := c.last[id]; known && !link.Next && old.place <= place {
		old.Stale, old.Err = true, err
		return old, true
	}
	unknown[id] = err
	return r, false
}

// errNobody is of a node of which each link has said for certain that it is not its own.
var errNobody = errors.New("no resolver knows its address")

// undecided is the Resolution of a node that no link found or refused.
func (c *Chain) undecided(id string, unknown map[string]error) Resolution {
	why := unknown[id]
	if why == nil {
		return Resolution{Err: errNobody}
	}
	r := c.last[id]
	r.Stale, r.Err = r.Found(), why
	return r
}

// remember keeps what was found, and what was known of nodes not asked about now, up to a bound. An address that was taken
// back is forgotten: it may be another host's when a link that had it can't be asked.
func (c *Chain) remember(found map[string]Resolution) {
	if len(c.last) > 2*len(found)+1000 {
		for id := range c.last {
			if _, ok := found[id]; !ok {
				delete(c.last, id)
			}
		}
	}
	for id, r := range found {
		switch {
		case r.Found():
			r.Stale, r.Err = false, nil
			c.last[id] = r
		case IsRefused(r.Err), errors.Is(r.Err, errNobody):
			delete(c.last, id)
		}
	}
}
