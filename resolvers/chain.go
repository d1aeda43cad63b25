package resolvers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/bazbeans/bazbeans/pool"
)

// Link is one resolver of a chain.
type Link struct {
	Name     string // shown to people: redis, static, …
	Resolver Resolver
	Next     bool // on "cannot know" ask the next link, although an older address is at hand; the default keeps that
}

// Resolution is what a chain found out about one node.
type Resolution struct {
	Endpoint
	Link  string // which one said it; "" when none did
	Stale bool   // it is the address last known: nobody could say anything now
	Err   error  // no address: why. With Stale: why it could not be renewed. A *RefusedError when it was refused
}

// Found reports whether there is an address.
func (r Resolution) Found() bool { return r.Addr.IsValid() }

// Chain asks its links in order. It remembers the last address of each node, for when nobody can know.
// It is for one caller at a time.
type Chain struct {
	links   []Link
	door    Door
	timeout time.Duration
	last    map[string]Resolution
}

// linkTimeout bounds one link's answer for the whole batch.
const linkTimeout = 5 * time.Second

// NewChain returns a chain over at least one link.
func NewChain(door Door, links ...Link) (*Chain, error) {
	if len(links) == 0 {
		return nil, errors.New("resolver chain: no resolver given")
	}
	return &Chain{links: links, door: door, timeout: linkTimeout, last: map[string]Resolution{}}, nil
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

// Resolve finds the addresses of nodes; there is a Resolution for each id. The error collects what went wrong in the
// links, for the log: addresses that were found are good all the same.
func (c *Chain) Resolve(ctx context.Context, nodes []pool.Node) (map[string]Resolution, error) {
	found := make(map[string]Resolution, len(nodes))
	unknown := make(map[string]error) // id -> why a link could not know
	var errs *multierror.Error
	open := nodes
	for _, link := range c.links {
		if len(open) == 0 {
			break
		}
		answers, err := c.ask(ctx, link, open)
		if err != nil {
			errs = multierror.Append(errs, fmt.Errorf("%s: %w", link.Name, err))
		}
		var rest []pool.Node
		for _, n := range open {
			r, done := c.judge(link, n.ID, answers, err, unknown)
			if done {
				found[n.ID] = r
			} else {
				rest = append(rest, n)
			}
		}
		open = rest
	}
	for _, n := range open {
		r := Resolution{Err: errors.New("no resolver knows its address")}
		if why := unknown[n.ID]; why != nil {
			r.Err = why
			if old, ok := c.last[n.ID]; ok {
				r = old
				r.Stale, r.Err = true, why
			}
		}
		found[n.ID] = r
	}
	c.remember(found)
	return found, errs.ErrorOrNil()
}

// judge turns one link's answer into a Resolution; done is false when the next link is to be asked.
func (c *Chain) judge(link Link, id string, answers Answers, linkErr error, unknown map[string]error) (r Resolution, done bool) {
	a, ok := answers[id]
	err := a.Err
	if !ok {
		err = linkErr
	} else if err == nil {
		err = c.door.Check(a.Addr)
	}
	switch {
	case err == nil && ok:
		a.Addr = a.Addr.Unmap()
		return Resolution{Endpoint: a.Endpoint, Link: link.Name}, true
	case err == nil:
		return r, false // not its own
	case IsRefused(err) && ok:
		return Resolution{Link: link.Name, Err: err}, true
	}
	err = fmt.Errorf("%s cannot know: %w", link.Name, err)
	if old, known := c.last[id]; known && !link.Next {
		old.Stale, old.Err = true, err
		return old, true
	}
	unknown[id] = err
	return r, false
}

func (c *Chain) ask(ctx context.Context, link Link, nodes []pool.Node) (answers Answers, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	defer func() {
		// Resolvers are other people's code: one that panics cannot know, and lbd goes on.
		if p := recover(); p != nil {
			answers, err = nil, fmt.Errorf("panic: %v", p)
		}
	}()
	return link.Resolver.Resolve(ctx, nodes)
}

// remember keeps what was found, and what was known of nodes not asked about now, up to a bound.
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
		case IsRefused(r.Err):
			delete(c.last, id)
		}
	}
}
