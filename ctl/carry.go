package ctl

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// carry has the nodes do what the order says, some at a time, and shows each as it ends.
func (s *session) carry(ctx context.Context, snd *sending, o order, ids []string, show func(outcome)) error {
	sign, err := s.newSigner(snd.seal)
	if err != nil {
		return err
	}
	parallel := snd.parallel
	if s.parallel > 0 && !snd.given.Changed {
		parallel = s.parallel
	}
	targets, err := s.targets(ctx, ids, sign)
	if err != nil {
		return err
	}
	o.for_ = snd.deadline
	c := carrying{s: s, verb: o.verb, began: time.Now(), live: s.newLive(), nodes: map[string]*carried{}, news: make(chan news)}
	for _, t := range targets {
		if t.dead != nil {
			s.say("%s: no heartbeat%s: it gets the command if its agent is back within %s", t.id, ago(t.dead, s.now()), o.for_)
		}
		c.order = append(c.order, t.id)
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	go func() {
		for _, t := range targets {
			slots <- struct{}{}
			if ctx.Err() != nil { // not begun: nothing was sent
				c.news <- news{id: t.id, out: &outcome{ID: t.id, Result: notTried, code: cli.Failed, text: "interrupted, nothing was sent"}}
				<-slots
				continue
			}
			wg.Go(func() {
				defer func() { <-slots }()
				out := s.one(ctx, sign, o, t, snd.noWait, func(r pool.Result) { c.news <- news{id: t.id, state: r.State} })
				c.news <- news{id: t.id, out: &out}
			})
		}
		wg.Wait()
		close(c.news)
	}()
	all := c.collect(show)
	if !s.output.data() && len(ids) > 1 {
		s.say("%s: %s in %s", o.verb, all.tally(), short(time.Since(c.began)))
	}
	return s.finish(all, nil)
}

func ago(t *time.Time, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " for " + age(now, t)
}

// news is what is heard of one node's command: a state, or in the end the outcome.
type news struct {
	id    string
	state pool.CommandState
	out   *outcome
}

// carrying is a command line that is carried out on several nodes.
type carrying struct {
	s     *session
	verb  string
	began time.Time
	order []string
	nodes map[string]*carried
	news  chan news
	live  *live
}

// carried is one node of it that has begun.
type carried struct {
	state pool.CommandState
	since time.Time
	out   *outcome
}

// collect returns all outcomes, in the order of the command line, and shows each as it comes.
func (c *carrying) collect(show func(outcome)) outcomes {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for open := true; open; {
		select {
		case n, ok := <-c.news:
			if open = ok; !ok {
				break
			}
			if n.out == nil {
				c.nodes[n.id] = &carried{state: n.state, since: time.Now()}
				break
			}
			c.nodes[n.id] = &carried{out: n.out}
			c.live.above(func() { show(*n.out) })
		case <-tick.C:
		}
		c.paint()
	}
	c.live.paint(nil)
	var all outcomes
	for _, id := range c.order {
		all = append(all, *c.nodes[id].out)
	}
	return all
}

// paint shows how far it is: a line, and one for each of a few nodes that are at it.
func (c *carrying) paint() {
	if c.live == nil || time.Since(c.began) < 300*time.Millisecond {
		return // what is done within a moment needs no picture
	}
	const most = 5
	done := 0
	var at []string
	for _, id := range c.order {
		switch n := c.nodes[id]; {
		case n == nil:
		case n.out != nil:
			done++
		default:
			at = append(at, fmt.Sprintf("  %-20s %s, %s", id, n.state, short(time.Since(n.since))))
		}
	}
	if more := len(at) - most; more > 0 {
		at = append(at[:most], fmt.Sprintf("  … and %d more", more))
	}
	head := fmt.Sprintf("%s %s %d of %s, %s", c.verb, c.s.gauge(done, len(c.order)), done, plural(len(c.order), "node"), short(time.Since(c.began)))
	c.live.paint(append([]string{head}, at...))
}

// gauge is how much of it is done: ████····.
func (s *session) gauge(done, of int) string {
	const wide = 20
	n := wide
	if of > 0 {
		n = wide * done / of
	}
	return s.paint(green, strings.Repeat("█", n)) + strings.Repeat("·", wide-n)
}

// tally counts outcomes by result: "11 succeeded, 1 failed (web3)".
func (o outcomes) tally() string {
	var results []string
	for _, out := range o {
		if !slices.Contains(results, out.Result) {
			results = append(results, out.Result)
		}
	}
	slices.SortFunc(results, func(a, b string) int { // what went well first
		well := string(pool.Succeeded)
		switch {
		case a == b:
			return 0
		case a == well:
			return -1
		case b == well:
			return 1
		}
		return strings.Compare(a, b)
	})
	var parts []string
	for _, r := range results {
		ids, _ := o.with(r)
		part := fmt.Sprintf("%d %s", len(ids), strings.ReplaceAll(r, "_", " "))
		if r != string(pool.Succeeded) && r != queued {
			part += " (" + few(ids, 5) + ")"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}
