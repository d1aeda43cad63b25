package ctl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// outcome is what became of one node of a command line; its keys are public (docs/bbctl.md).
type outcome struct {
	ID      string `json:"id"`
	Result  string `json:"result"`            // one word
	Rev     int64  `json:"rev,omitempty"`     // the revision that holds it
	Command string `json:"command,omitempty"` // the id of a queued command
	Detail  string `json:"detail,omitempty"`  // foreign text
	// With --wait: whether every load balancer is proven to serve it.
	Confirmed *bool `json:"confirmed,omitempty"`

	text string // for people, what follows "web3: "
	code int    // exit code
}

// Results.
const (
	frozen        = "frozen"
	alreadyFrozen = "already_frozen"
	unfrozen      = "unfrozen"
	notFrozen     = "not_frozen"
	ownFreeze     = "own_freeze_stays"        // nothing was lifted
	lifted        = "lifted_own_freeze_stays" // the operator's was
	queued        = "queued"
	removed       = "removed"
	forgotten     = "forgotten"
	noSuchNode    = "no_such_node"
	failed        = "failed"
	notTried      = "not_tried"
)

// outcomes are those of one command line, in its order.
type outcomes []outcome

// code is the highest of all: 3 if one node does not exist, 5 if one refused.
func (o outcomes) code() (worst int) {
	for _, out := range o {
		worst = max(worst, out.code)
	}
	return worst
}

// with returns the nodes with one of these results, and the highest revision among them.
func (o outcomes) with(results ...string) (ids []string, rev int64) {
	for _, out := range o {
		if slices.Contains(results, out.Result) {
			ids, rev = append(ids, out.ID), max(rev, out.Rev)
		}
	}
	return ids, rev
}

// end is the error that carries the code; all has been said.
func (o outcomes) end() error {
	if c := o.code(); c != cli.Done {
		return exit(c)
	}
	return nil
}

// each does one thing to each node, and all that can be done: an unknown node stops nothing, a Redis that fails does.
// It says each failure as it comes, and to people each success.
func (s *session) each(ctx context.Context, ids []string, do func(context.Context, *pool.Pool, string) (outcome, error)) (outcomes, error) {
	var all outcomes
	err := s.redis(ctx, func(ctx context.Context, p *pool.Pool) error {
		for i, id := range ids {
			out, err := do(ctx, p, id)
			out.ID = id
			switch {
			case errors.Is(err, pool.ErrNoSuchNode):
				out.Result, out.code = noSuchNode, cli.NoNode
				s.say("%v", nearest(ctx, p, id, err))
			case errors.Is(err, pool.ErrQueueFull):
				out.Result, out.code = failed, cli.Failed
				s.say("%v", err)
			case err != nil:
				out.Result, out.code = failed, cli.Failed
				s.say("%s: %v", cli.Printable(id, 128), err)
				all = append(all, out)
				for _, rest := range ids[i+1:] {
					all = append(all, outcome{ID: rest, Result: notTried, code: cli.Failed})
				}
				if rest := ids[i+1:]; len(rest) > 0 {
					s.say("not tried: %s", cli.Printable(strings.Join(rest, " "), 1000))
				}
				return nil
			case !s.output.data():
				fmt.Fprintf(s.stdout, "%s: %s\n", cli.Printable(id, 128), out.text)
			}
			all = append(all, out)
		}
		return nil
	})
	return all, err
}

// finish prints the outcomes for programs, and returns what the command line came to.
func (s *session) finish(all outcomes) error {
	if s.output.data() {
		if all == nil {
			all = outcomes{}
		}
		if err := s.show(all, func(*bytes.Buffer) {}); err != nil {
			return err
		}
	}
	return all.end()
}

// nodeIDs returns every node's id.
func nodeIDs(ctx context.Context, p *pool.Pool) (ids []string, err error) {
	snap, err := p.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	for i := range snap.Nodes {
		ids = append(ids, snap.Nodes[i].ID)
	}
	return ids, nil
}

// nearest adds the nearest names to pool's error; without them when Redis fails: they are only a hint.
func nearest(ctx context.Context, p *pool.Pool, id string, err error) error {
	ids, _ := nodeIDs(ctx, p)
	return &cli.Error{Code: cli.NoNode, Err: fmt.Errorf("%w%s", err, didYouMean(id, ids, "bbctl list-nodes"))}
}

// didYouMean is the hint for a name that does not exist: the nearest that do, or the command that lists all.
func didYouMean(name string, names []string, list string) string {
	const most = 3 // hints
	name = strings.ToLower(name)
	far := min(2, len(name)/2) // no farther than that
	var near []string
	for _, n := range names {
		d := distance(name, strings.ToLower(n))
		if strings.HasPrefix(strings.ToLower(n), name) {
			d = min(d, 1)
		}
		if d < far {
			far, near = d, nil
		}
		if d == far && len(near) < most {
			near = append(near, n)
		}
	}
	if len(near) == 0 {
		return " (see " + list + ")"
	}
	return ": did you mean " + or(near) + "?"
}

// distance is Levenshtein's, on bytes: ids are ASCII.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
