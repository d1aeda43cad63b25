package resolvers

import (
	"context"
	"errors"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// Testimony is what one link said when it was asked about one node, and how long that took.
type Testimony struct {
	Said
	Link string
	Took time.Duration
	Won  bool // the chain goes by it
}

// patient is how long Explain waits for a link that learns in the background.
const patient = 5 * time.Second

// Explain asks every link about one node, also those that Resolve would not come to, and returns what the chain makes
// of it, and what each said, in the chain's order. It is for people: each link has up to Timeout, and one that says
// that it is still looking has a few seconds. Nothing is remembered.
func (c *Chain) Explain(ctx context.Context, n pool.Node) (Resolution, []Testimony) {
	var all []Testimony
	var result Resolution
	decided := false
	unknown := map[string]error{}
	for i, link := range c.links {
		t := c.testify(ctx, link, n)
		if !decided {
			result, decided = c.decide(i, n.ID, t.Said, unknown)
			t.Won = decided
		}
		all = append(all, t)
	}
	if !decided {
		result = c.undecided(n.ID, unknown)
	}
	return result, all
}

func (c *Chain) testify(ctx context.Context, link *asker, n pool.Node) Testimony {
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	began := time.Now()
	for {
		answers, _, err := link.ask(ctx, Timeout, []pool.Node{n})
		t := Testimony{Said: c.door.Said(n.ID, answers, err), Link: link.Name, Took: time.Since(began)}
		notifier, learns := link.Resolver.(Notifier)
		if !learns || !errors.Is(t.Err, errNotYet) || ctx.Err() != nil {
			return t
		}
		select {
		case <-notifier.Changed():
		case <-ctx.Done():
		}
	}
}
