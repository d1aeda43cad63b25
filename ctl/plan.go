package ctl

import (
	"context"
	"crypto/rand"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// A run of update leaves its traces in Redis, so that anybody can go on with it from anywhere: the reason of its freezes
// begins with "update RUN", the ids of its commands with "RUN-". The last three characters of RUN are a checksum of
// which nodes it was for.
var (
	runRule  = regexp.MustCompile(`\A[A-Z2-7]{8}\z`)
	markRule = regexp.MustCompile(`\Aupdate ([A-Z2-7]{8})\b`)
	idRule   = regexp.MustCompile(`\A([A-Z2-7]{8})-[A-Z2-7]+\z`)
)

// plan is what a run of update is going to do.
type plan struct {
	u       *updating
	run     string
	snap    *pool.Snapshot
	lbs     []pool.LB
	todo    []planned
	done    []string // by this run, before
	skipped outcomes
	size    int // of a batch
	least   int // nodes in service
}

// planned is a node that is going to be updated.
type planned struct {
	*pool.Node
	keep bool         // it was frozen by an operator, and stays so
	sent *pool.Result // its update command of this run, if there is one that has not failed
}

func (n *planned) after() string {
	if n.keep {
		return ", and stays frozen: " + cli.Printable(n.Why(), 200)
	}
	return ""
}

func (p *plan) ids() (ids []string) {
	for _, n := range p.todo {
		ids = append(ids, n.ID)
	}
	return ids
}

// plan looks at the pool and decides who is updated, in which order. It changes nothing.
func (s *session) plan(ctx context.Context, cmd *cobra.Command, u *updating) (*plan, error) {
	p := &plan{u: u}
	err := s.redis(ctx, func(ctx context.Context, pl *pool.Pool) (err error) {
		if p.snap, err = pl.Snapshot(ctx); err != nil {
			return err
		}
		if p.lbs, err = pl.LBs(ctx); err != nil {
			return err
		}
		ids, none := u.pick(p.snap.Nodes)
		if len(none) > 0 {
			return noNode("no node matches %s (see bbctl list-nodes); nothing was done", strings.Join(none, ", "))
		}
		var chosen []*pool.Node
		for _, id := range ids {
			i := slices.IndexFunc(p.snap.Nodes, func(n pool.Node) bool { return n.ID == id })
			if i < 0 {
				return noNode("node %q: no such node%s; nothing was done", id, didYouMean(id, idsOf(p.snap.Nodes), "bbctl list-nodes"))
			}
			chosen = append(chosen, &p.snap.Nodes[i])
		}
		return p.fill(ctx, cmd, pl, chosen)
	})
	return p, err
}

func (p *plan) fill(ctx context.Context, cmd *cobra.Command, pl *pool.Pool, chosen []*pool.Node) error {
	sum := checksum(&p.u.choice)
	p.run = rand.Text()[:5] + sum
	var sent map[string]pool.Result
	if p.u.resume != "" {
		var err error
		if p.run, err = findRun(ctx, pl, p.u.resume, sum, chosen); err != nil {
			return err
		}
		if !strings.HasSuffix(p.run, sum) {
			return usagef(cmd, "update %s was begun for other nodes: repeat its NODE, --dc and --label", p.run)
		}
		if sent, err = sentBy(ctx, pl, p.run, chosen); err != nil {
			return err
		}
	}
	for _, n := range chosen {
		if err := p.take(n, sent); err != nil {
			return err
		}
	}
	// Those at hand when the run stopped come first: they are out of service.
	slices.SortStableFunc(p.todo, func(a, b planned) int { return p.at(b.Node) - p.at(a.Node) })
	active := 0
	for i := range p.snap.Nodes {
		if n := &p.snap.Nodes[i]; inService(n) || p.at(n) == 1 {
			active++
		}
	}
	var err error
	if p.least, err = p.u.least(active); err == nil {
		p.size, err = p.u.size(len(p.todo))
	}
	return err
}

// at is 1 for a node that this run has frozen.
func (p *plan) at(n *pool.Node) int {
	if n.Freeze != nil && runOf(n.Freeze.Reason) == p.run {
		return 1
	}
	return 0
}

// runOf returns the run of update whose freeze has that reason, or "".
func runOf(reason string) string {
	if m := markRule.FindStringSubmatch(reason); m != nil {
		return m[1]
	}
	return ""
}

// take puts a node where it belongs.
func (p *plan) take(n *pool.Node, sent map[string]pool.Result) error {
	next := planned{Node: n}
	r, known := sent[n.ID]
	if known && (r.State == pool.Succeeded || !r.State.Ended()) {
		next.sent = &r
	}
	other := ""
	if n.Freeze != nil {
		other = runOf(n.Freeze.Reason)
	}
	named := slices.Contains(p.u.args, n.ID)
	switch state := n.State(); {
	case known && r.State == pool.Succeeded && p.at(n) == 0:
		p.done = append(p.done, n.ID)
		return nil
	case !n.Alive && named:
		return fmt.Errorf("%s has no heartbeat: nobody there would update it; nothing was done", n.ID)
	case !n.Alive:
		p.skip(n, "it is %s, nobody there would update it", state)
		return nil
	case state != pool.Frozen, p.at(n) == 1, other != "" && named:
	case other != "":
		p.skip(n, "update %s left it frozen: %s (go on with that: --resume=%s, or name it)", other, n.Freeze.Reason, other)
		return nil
	case !named:
		p.skip(n, "it is frozen: %s (name it to update it all the same; it stays frozen)", n.Why())
		return nil
	default:
		next.keep = true
	}
	p.todo = append(p.todo, next)
	return nil
}

func (p *plan) skip(n *pool.Node, format string, args ...any) {
	text := cli.Printable(fmt.Sprintf(format, args...), 400)
	p.skipped = append(p.skipped, outcome{ID: n.ID, Result: skipped, Detail: text, text: text})
}
