package ctl

import (
	"context"
	"encoding/json"
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

	// Of a command that was waited for.
	Type     string          `json:"type,omitempty"`
	ExitCode *int            `json:"exit_code,omitempty"`
	Stdout   string          `json:"stdout,omitempty"`
	Stderr   string          `json:"stderr,omitempty"`
	Output   json.RawMessage `json:"output,omitempty"`
	Seconds  float64         `json:"seconds,omitempty"` // it ran

	text   string // for people, what follows "web3: "
	code   int    // exit code
	others bool   // another operator froze it meanwhile
}

// Results.
const (
	frozen        = "frozen"
	alreadyFrozen = "already_frozen"
	unfrozen      = "unfrozen"
	notFrozen     = "not_frozen"
	unfrozenDead  = "unfrozen_dead"           // it gets no traffic before its agent is back
	ownFreeze     = "own_freeze_stays"        // nothing was lifted
	lifted        = "lifted_own_freeze_stays" // the operator's was
	queued        = "queued"
	removed       = "removed"
	forgotten     = "forgotten"
	noSuchNode    = "no_such_node"
	failed        = "failed"
	notTried      = "not_tried"
	dryRun        = "dry_run" // it would be done
	updated       = "updated"
	skipped       = "left_out" // of an update
	// A Python agent's results have no id, and more than one may be meant.
	notAttributable = "not_attributable"
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
			switch {
			case errors.Is(err, pool.ErrNoSuchNode):
				out = outcome{Result: noSuchNode, code: cli.NoNode}
				s.say("%v", nearest(ctx, p, id, err))
			case err != nil:
				out = outcome{Result: failed, code: cli.Failed}
				s.say("%s: %v", cli.Printable(id, 128), err)
			case !s.output.data():
				fmt.Fprintf(s.stdout, "%s: %s\n", cli.Printable(id, 128), out.text)
			}
			out.ID = id
			all = append(all, out)
			if out.Result == failed && !errors.Is(err, pool.ErrQueueFull) {
				all = append(all, s.notTried(ids[i+1:])...)
				return nil
			}
		}
		return nil
	})
	return all, err
}

func (s *session) notTried(ids []string) (all outcomes) {
	for _, id := range ids {
		all = append(all, outcome{ID: id, Result: notTried, code: cli.Failed})
	}
	if len(ids) > 0 {
		s.say("not tried: %s", cli.Printable(strings.Join(ids, " "), 1000))
	}
	return all
}

// finish prints the outcomes for programs, and returns what the command line came to; err comes first.
func (s *session) finish(all outcomes, err error) error {
	if s.output.data() && (err == nil || len(all) > 0) {
		if shown := s.print(append(outcomes{}, all...), "  "); err == nil { // [] is no null
			err = shown
		}
	}
	if err != nil {
		return err
	}
	return all.end()
}
