package ctl

import (
	"context"
	"errors"
	"fmt"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// mark is the reason of a freeze of this run.
func (r *rollout) mark(text string) string { return "update " + r.plan.run + ": " + text }

// lookAgain looks at a node that is to stay frozen when its turn has come. One whose freeze is gone since the run was
// planned is in traffic: it is updated as any other. One that another run has frozen since is none that stays so: freeze
// leaves it to that run.
func (r *rollout) lookAgain(ctx context.Context, n *planned) error {
	if !n.keep {
		return nil
	}
	now, err := r.s.pool.Node(ctx, n.ID)
	if err != nil {
		return err
	}
	if n.keep = now.State() == pool.Frozen && (now.Freeze == nil || runOf(now.Freeze.Reason) == ""); n.keep {
		n.Node = now
	}
	return nil
}

// freeze takes a node out for its update. A freeze that another operator put on it since the run was planned stays, and
// keeps the run from the node; that of another run is taken over, if the node was named for that.
func (r *rollout) freeze(ctx context.Context, n planned) (pool.Change, error) {
	mine := r.mark("")
	if n.Freeze != nil {
		if run := runOf(n.Freeze.Reason); run != "" {
			mine = "update " + run
		}
	}
	return r.s.pool.FreezeRun(ctx, n.ID, r.s.as, r.mark("in progress"), mine)
}

// meanwhile is the outcome for a node that another operator has frozen since the run was planned.
func (out outcome) meanwhile(result, what string, others *pool.OthersFreezeError) outcome {
	out.Result, out.Detail, out.others = result, byOthers(others), true
	out.text = what + ", " + out.Detail
	return out
}

func byOthers(others *pool.OthersFreezeError) string {
	why := ""
	if others.Freeze.Reason != "" {
		why = " (" + others.Freeze.Reason + ")"
	}
	return cli.Printable(fmt.Sprintf("frozen by %s meanwhile%s: stays frozen", others.Freeze.By, why), 400)
}

// failedAt leaves the node frozen with the reason, and says so.
func (r *rollout) failedAt(out outcome, n planned, at string, err error) outcome {
	why := waited(err)
	late := errors.Is(err, context.DeadlineExceeded)
	if late {
		switch at {
		case draining:
			why = fmt.Sprintf("not drained within %s: %s (--drain-timeout, --force)", r.u.drainTimeout, why)
		case serving:
			why = fmt.Sprintf("not served everywhere within %s: %s", r.u.drainTimeout, why)
		}
	}
	left := leftIn(at, n.keep, err)
	var back *pool.UnfrozenError
	if errors.As(err, &back) { // as with a freeze: what another operator does meanwhile stays
		left = "it is in service, its update was not begun"
	} else if !n.keep && at != serving && at != freezing {
		// Bounded, and without the command line's ctx: the node has to say why it is out.
		ctx, cancel := context.WithTimeout(context.Background(), r.s.timeout)
		defer cancel()
		_, ferr := r.s.pool.FreezeRun(ctx, n.ID, r.s.as, r.mark("failed while "+at+": "+why), r.mark(""))
		var others *pool.OthersFreezeError
		switch {
		case errors.As(ferr, &others):
			left, out.others = left+"; "+byOthers(others), true
		case ferr != nil:
			left += fmt.Sprintf(" (its freeze can't say why: %v)", ferr)
		}
	}
	out = out.fail(failed, "failed while %s: %s; %s", at, why, left)
	if late && (at == draining || at == serving) {
		out.code = cli.Deadline
	}
	return out
}

// errNotBegun says that a node's update was not begun.
var errNotBegun = errors.New("not begun")

// leftIn says in what state a node is that did not get past a stage, because of err.
func leftIn(at string, keep bool, err error) string {
	var now string
	switch {
	case at == freezing:
		return "look whether it is frozen: bbctl status NODE"
	case at == draining, errors.Is(err, errNotBegun):
		now = "its update was not begun"
	case at == doing:
		now = "its update may be done in part, or still go on: see bbctl status NODE"
	case at == checking, at == thawing:
		now = "its update is done"
	case at == serving:
		return "it is updated and unfrozen"
	}
	if keep {
		return now + ", it was frozen before and stays so"
	}
	return "it stays frozen, " + now
}
