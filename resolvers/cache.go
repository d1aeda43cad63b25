package resolvers

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// ErrNotMine is what a look-up says of a node that is not its own: the next resolver is asked.
var ErrNotMine = errors.New("not mine")

// Cache is a Resolver over something slow: a name server, a program, somebody's function. It learns in the background
// and answers from what it has learnt, so that a call of Resolve never waits longer than a moment:
//
//   - What is fresh is answered at once, without a look-up, and renewed in the background before its time is over.
//   - What is missing is looked up, each name once at a time, with a bound on how many at once. Resolve waits for it
//     up to patience; after that the answer is "cannot know", and Changed tells when it has come.
//   - A look-up that fails is tried again, soon and then less and less often. Until one succeeds the address last known
//     stays: as good as before until its time is over, and with the error beside it after that.
//   - An address is given up when "not mine" was said twice in a row, a second apart: a zone that is just being
//     reloaded, or a script whose input is half written, takes no node out of service.
//
// A node that nobody asks about is forgotten. Cache may be used by several goroutines at once.
type Cache struct {
	look     lookup
	limits   limits
	changed  chan struct{}
	poke     chan struct{} // there is work in the queues
	finished sync.WaitGroup

	mu      sync.Mutex
	entries map[string]*entry
	queues  [levels][]*entry
	working int       // look-ups under way
	next    time.Time // no entry is due before
	news    bool      // something differs from what was told, and Changed has not said so
	said    time.Time // when Changed last did
	stop    context.CancelFunc
	closed  bool
}

// limits bound a Cache.
type limits struct {
	ttl      time.Duration // how long a finding is good that does not say itself
	timeout  time.Duration // of one look-up
	parallel int           // look-ups at once
	batch    int           // names in one look-up
}

const (
	patience  = 400 * time.Millisecond // that Resolve waits: two such links in a chain stay below a second
	sweeping  = 250 * time.Millisecond // between looks at what is due
	recheck   = time.Second            // until "not mine" is asked again, or a failed look-up for the first time
	slowest   = 30 * time.Second       // between two tries of a look-up that goes on failing
	forget    = 10 * time.Minute       // after a node was last asked about
	goneAfter = 2                      // times of "not mine" that take an address away
	closeWait = 5 * time.Second        // for look-ups to end; longer is somebody's function that ignores its ctx
)

var (
	errNotYet = errors.New("it has not answered yet") // about a node that is being looked up; Changed tells when it is over
	errGone   = errors.New("it no longer has this node: asked again before that is believed")
	errClosed = errors.New("the resolver is closed")
)

func newCache(look lookup, l limits) *Cache {
	return &Cache{
		look: look, limits: l, entries: map[string]*entry{},
		changed: make(chan struct{}, 1), poke: make(chan struct{}, 1),
	}
}

// Changed implements Notifier: there is something that differs from what Resolve said last.
func (c *Cache) Changed() <-chan struct{} { return c.changed }

// Resolve implements Resolver. Its error is set only after Close.
func (c *Cache) Resolve(ctx context.Context, nodes []pool.Node) (Answers, error) {
	done, err := c.ask(ctx, nodes)
	if err != nil {
		return nil, err
	}
	if done != nil {
		enough := time.NewTimer(patience)
		defer enough.Stop()
		select {
		case <-done:
		case <-enough.C:
		case <-ctx.Done():
		}
	}
	return c.answers(nodes), nil
}

// waiter is one call of Resolve that waits for entries.
type waiter struct {
	left int           // guarded by Cache.mu
	done chan struct{} // closed when none is left
}

// ask puts what is missing in the queue. The channel is closed when all that is worth waiting for has come: look-ups
// that were begun just now. One that is overdue, or has failed, delays nobody a second time. Nil: there is none.
func (c *Cache) ask(ctx context.Context, nodes []pool.Node) (<-chan struct{}, error) {
	now := time.Now()
	w := &waiter{done: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed
	}
	for i := range nodes {
		e := c.entries[nodes[i].ID]
		if e == nil {
			e = &entry{id: nodes[i].ID}
			c.entries[e.id] = e
		}
		e.asked = now
		if e.fresh(now) || e.failures > 0 {
			continue
		}
		if !e.pending {
			c.queue(e, missing, now)
		}
		if now.Sub(e.since) < patience {
			e.waiters = append(e.waiters, w)
			w.left++
		}
	}
	c.start(ctx)
	if w.left == 0 {
		return nil, nil
	}
	return w.done, nil
}

func (c *Cache) answers(nodes []pool.Node) Answers {
	answers := make(Answers, len(nodes))
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range nodes {
		e := c.entries[nodes[i].ID]
		if e == nil { // forgotten meanwhile, by a caller that was stopped for minutes
			answers[nodes[i].ID] = Answer{Err: errNotYet}
			continue
		}
		a := e.answer(now)
		e.told, e.telling = a, true
		if !errors.Is(a.Err, ErrNotMine) {
			answers[e.id] = a
		}
	}
	return answers
}

// Close ends all look-ups and waits for them. It may be called more than once.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	stop := c.stop
	c.mu.Unlock()
	if stop == nil {
		return nil
	}
	stop()
	ended := make(chan struct{})
	go func() { c.finished.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-time.After(closeWait):
		return errors.New("look-ups do not end though they were told to")
	}
}
