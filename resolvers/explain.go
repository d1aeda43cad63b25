package resolvers

import (
	"context"
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

// Explain asks every link about one node, also those that Resolve would not come to, each for up to Timeout, and
// returns what the chain makes of it, and what each said, in the chain's order. It remembers nothing.
func (c *Chain) Explain(ctx context.Context, n pool.Node) (Resolution, []Testimony) {
	var all []Testimony
	var result Resolution
	decided := false
	unknown := map[string]error{}
	for i, link := range c.links {
		answers, took, err := link.ask(ctx, Timeout, []pool.Node{n})
		t := Testimony{Said: c.door.Said(n.ID, answers, err), Link: link.Name, Took: took}
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
