package ctl

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kballard/go-shellquote"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// rolling shows a run of update: on a terminal a few lines that are painted anew, elsewhere a line for each stage.
type rolling struct {
	r     *rollout
	live  *live
	began time.Time
	done  int
	nodes []*rollingNode // at hand
	noted bool           // that Ctrl-C was heard
	word  string         // what goes on between batches
}

// rollingNode is a node at hand.
type rollingNode struct {
	id, stage, detail string
	said              string // of the details, where there is no picture
	since             time.Time
}

func newRolling(r *rollout) *rolling {
	return &rolling{r: r, live: r.s.newLive(), began: time.Now()}
}

// watch shows a batch until it is over. soft is the context that the first Ctrl-C ends.
func (p *rolling) watch(soft context.Context, news <-chan stage) {
	p.nodes = nil
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case n, ok := <-news:
			if !ok {
				return
			}
			p.hear(n)
		case <-tick.C:
		}
		if soft.Err() != nil && !p.noted && len(p.nodes) > 0 {
			p.noted = true
			p.live.above(func() { p.r.s.say("interrupted: finishing %s; once more ends at once", p.at()) })
		}
		p.paint()
	}
}

func (p *rolling) at() string {
	var ids []string
	for _, n := range p.nodes {
		ids = append(ids, n.id)
	}
	return strings.Join(ids, ", ")
}

func (p *rolling) hear(news stage) {
	i := slices.IndexFunc(p.nodes, func(n *rollingNode) bool { return n.id == news.id })
	if news.out != nil {
		if i >= 0 {
			p.nodes = slices.Delete(p.nodes, i, i+1)
		}
		p.done++
		p.live.above(func() { p.r.s.showOutcome(*news.out) })
		return
	}
	if news.note != "" {
		p.live.above(func() { p.r.s.say("%s: %s", news.id, cli.Printable(news.note, 300)) })
		return
	}
	if i < 0 {
		i = len(p.nodes)
		p.nodes = append(p.nodes, &rollingNode{id: news.id})
	}
	n := p.nodes[i]
	detail := cli.Printable(news.detail, 300)
	switch {
	case news.name != "":
		n.stage, n.detail, n.said, n.since = news.name, "", "", time.Now()
		p.plain("%s: %s", n.id, n.stage)
	default:
		n.detail = detail
		if time.Since(n.since) > time.Second && detail != "" && detail != n.said { // what is over within a moment needs no words
			n.said = detail
			p.plain("%s: %s: %s", n.id, n.stage, detail)
		}
	}
}

// plain says a line where there is no picture.
func (p *rolling) plain(format string, args ...any) {
	if p.live == nil {
		p.r.s.say(format, args...)
	}
}

// pause waits between two batches.
func (p *rolling) pause(ctx context.Context, d time.Duration) {
	end := time.Now().Add(d)
	for left := d; left > 0 && ctx.Err() == nil; left = time.Until(end) {
		p.word = "pause, " + short(left+time.Second-1)
		p.nodes = nil
		p.paint()
		select {
		case <-ctx.Done():
		case <-time.After(min(left, 200*time.Millisecond)):
		}
	}
	p.word = ""
}

func (p *rolling) paint() {
	if p.live == nil {
		return
	}
	total := len(p.r.plan.todo)
	head := fmt.Sprintf("update %s  %s  %d of %d", p.r.plan.run, p.r.s.gauge(p.done, total), p.done, total)
	if n := len(p.r.failed); n > 0 {
		head += p.r.s.paint(red, fmt.Sprintf(", %d failed", n))
	}
	if left := p.left(total); left != "" {
		head += ", " + left
	}
	lines := []string{head}
	if p.word != "" {
		lines = append(lines, "  "+p.word)
	}
	for _, n := range p.nodes {
		line := fmt.Sprintf("  %-12s %s, %s", n.id, n.stage, short(time.Since(n.since)))
		if n.detail != "" {
			line += ": " + n.detail
		}
		lines = append(lines, line)
	}
	p.live.paint(lines)
}

// left is a guess from what the nodes before took.
func (p *rolling) left(total int) string {
	if p.done == 0 || p.done == total {
		return ""
	}
	each := time.Since(p.began) / time.Duration(p.done)
	return "about " + short(each*time.Duration(total-p.done)) + " left"
}

func (p *rolling) end() { p.live.paint(nil) }

// outcomes are those of a run: what was done by it before, what was done now, what was not tried, what was left out.
func (p *plan) outcomes(now outcomes) (all outcomes) {
	for _, id := range p.done {
		all = append(all, outcome{ID: id, Result: updated})
	}
	all = append(all, now...)
	for _, n := range p.todo {
		if !slices.ContainsFunc(now, func(out outcome) bool { return out.ID == n.ID }) {
			all = append(all, outcome{ID: n.ID, Result: notTried})
		}
	}
	return append(all, p.skipped...)
}

// end says what the run came to, and how to go on with it.
func (r *rollout) end(all outcomes) error {
	ids, _ := all.with(updated)
	text := fmt.Sprintf("%d of %d updated in %s", len(ids), len(r.plan.todo)+len(r.plan.done), short(time.Since(r.picture.began)))
	bad, _ := all.with(failed, string(pool.Interrupted))
	if len(bad) > 0 {
		text += ", failed: " + few(bad, 10)
	}
	if len(r.others) > 0 {
		text += ", frozen by others meanwhile: " + few(r.others, 10)
	}
	rest, _ := all.with(notTried)
	if len(rest) > 0 {
		text += ", not tried: " + few(rest, 10)
	}
	if r.stopped != nil {
		text = "stopped: " + r.stopped.Error() + "; " + text
	}
	r.s.say("update %s %s", r.plan.run, text)
	if len(bad)+len(rest) > 0 {
		r.s.say("go on with: bbctl update%s --resume=%s", r.u.again(), r.plan.run)
	}
	if err := r.s.finish(all, nil); err != nil {
		return err
	}
	if r.code == cli.Done && len(bad)+len(rest) > 0 {
		r.code = cli.Failed
	}
	if r.code != cli.Done {
		return exit(r.code)
	}
	return nil
}

// again is the choice as it stands on a command line.
func (c *choice) again() string {
	words := append([]string{""}, c.args...)
	for _, d := range c.dc {
		words = append(words, "--dc", d)
	}
	for _, k := range slices.Sorted(maps.Keys(c.labels)) {
		words = append(words, "--label", k+"="+c.labels[k])
	}
	return strings.TrimPrefix(shellquote.Join(words...), "''")
}
