package ctl

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/trust"
)

// sending are the flags of a verb that has nodes' agents do something.
type sending struct {
	choice
	noWait   bool
	deadline time.Duration
	seal     bool
	parallel int
	given    *pflag.Flag // --parallel
}

func (o *sending) bind(s *session, cmd *cobra.Command, deadline time.Duration) {
	o.choice.bind(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.noWait, "no-wait", false, "print the commands' ids and return; see bbctl result")
	f.DurationVar(&o.deadline, "deadline", deadline, "the longest to wait for each node; what its agent has not begun by then, it does not begin")
	f.IntVar(&o.parallel, "parallel", 10, "how many `nodes` at once")
	o.given = f.Lookup("parallel")
	f.StringVar(&s.key, "key", "", "`file` of the key that signs commands, made by bbctl keygen (default: the context's signing_key)")
	f.BoolVar(&o.seal, "seal", false, "encrypt what is sent, so that only the node can read it; needs a key")
}

// check is a PreRunE.
func (o *sending) check(cmd *cobra.Command, _ []string) error {
	switch {
	case o.deadline <= 0 || o.deadline > trust.LifeMost:
		return usagef(cmd, "--deadline %s is no time to wait (write 30s or 2m, %s at most)", o.deadline, trust.LifeMost)
	case o.parallel < 1:
		return usagef(cmd, "--parallel %d is not a number of nodes", o.parallel)
	case o.noWait && o.dryRun:
		return usagef(cmd, "--dry-run sends nothing: leave out --no-wait")
	}
	return nil
}

// order is one command for several nodes.
type order struct {
	verb string // of the command line
	kind string // of the command
	args map[string]any
	for_ time.Duration
	id   func() string // of each node's command; nil: pool's own
	// unlisted: not among the node's last commands; see pool.Command.
	unlisted bool
}

// notForPython says what of an order the original Python agent would not do, without a word; "": nothing.
func (o *order) notForPython() string {
	switch {
	case o.kind != "deploy_file":
		return ""
	case o.args["encoding"] != nil:
		return "a Python agent takes text only"
	case o.args["mode"] != nil || o.args["owner"] != nil:
		return "a Python agent sets neither mode nor owner of a file: leave out --mode and --owner"
	}
	return ""
}

// signer makes commands trustworthy: it signs them if there is a key, and seals them if that was asked for.
type signer struct {
	s    *session
	key  *trust.PrivateKey
	pins *pins // nil: nothing is sealed
}

// newSigner reads the key; its errors are those of flags and config. The pool is open.
func (s *session) newSigner(seal bool) (*signer, error) {
	sign := &signer{s: s}
	if s.key != "" {
		key, err := trust.ReadPrivateKey(s.key)
		if err != nil {
			return nil, &cli.Error{Code: cli.Usage, Err: err}
		}
		sign.key = &key
	}
	if !seal {
		return sign, nil
	}
	if sign.key == nil {
		return nil, cli.Usagef("--seal needs a key that signs: use --key FILE, or signing_key in the context (bbctl keygen makes one)")
	}
	var err error
	if sign.pins, err = s.pins(); err != nil {
		return nil, &cli.Error{Code: cli.Usage, Err: err}
	}
	return sign, nil
}

// target is a node as it is before a command is sent to it.
type target struct {
	id     string
	python bool
	dead   *time.Time // its last sign of life; nil: it lives
	to     *trust.SealKey
	cant   error // why nothing can be sealed to it
}

// targets looks at the nodes, before any is sent anything. Those that are not there are returned as well: Send finds
// out.
func (s *session) targets(ctx context.Context, ids []string, sign *signer) ([]target, error) {
	all := make([]target, len(ids))
	err := s.redis(ctx, func(ctx context.Context, p *pool.Pool) error {
		snap, err := p.Snapshot(ctx)
		if err != nil {
			return err
		}
		nodes := map[string]*pool.Node{}
		for i := range snap.Nodes {
			nodes[snap.Nodes[i].ID] = &snap.Nodes[i]
		}
		for i, id := range ids {
			all[i].id = id
			if n := nodes[id]; n != nil {
				all[i].python = n.Agent == ""
				if !n.Alive {
					all[i].dead = &n.Updated
				}
			}
		}
		if sign.pins == nil {
			return nil
		}
		caps, err := p.Capabilities(ctx, ids...)
		for i := range caps {
			switch t := &all[i]; {
			case nodes[t.id] == nil: // Send says so
			case t.python:
				t.cant = errors.New("a Python agent can't read what is sealed: leave out --seal")
			default:
				t.to, t.cant = sign.pins.key(t.id, caps[i].SealKey)
			}
		}
		return err
	})
	return all, err
}

// command makes the command of an order for one node.
func (sign *signer) command(o order, t target) (pool.Command, error) {
	c := pool.NewCommand(o.kind, sign.s.as, o.for_, o.args)
	c.Unlisted = o.unlisted
	if o.id != nil {
		c.ID = o.id()
	}
	if t.cant != nil || sign.key == nil || t.python {
		return c, t.cant
	}
	return c.Sign(t.id, *sign.key, t.to)
}

// send sends a command once more when the first time failed: that changes nothing. The error is pool.ErrMayBeDone as
// long as one of the two may have come through.
func (s *session) send(ctx context.Context, node string, c pool.Command) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := s.pool.Send(ctx, node, c)
	if err == nil || errors.Is(err, pool.ErrNoSuchNode) || errors.Is(err, pool.ErrQueueFull) || ctx.Err() != nil {
		return err
	}
	again := s.pool.Send(ctx, node, c)
	if errors.Is(err, pool.ErrMayBeDone) && again != nil && !errors.Is(again, pool.ErrNoSuchNode) && !errors.Is(again, pool.ErrQueueFull) {
		return err
	}
	return again
}

// one has one node do what the order says, and returns what came of it. changed hears of its progress.
func (s *session) one(ctx context.Context, sign *signer, o order, t target, noWait bool, changed func(pool.Result)) outcome {
	out := outcome{ID: t.id, Type: o.kind}
	c, err := sign.command(o, t)
	if err != nil {
		return out.fail(failed, "%s was not sent: %v", o.verb, err)
	}
	if why := o.notForPython(); t.python && why != "" {
		return out.fail(failed, "%s was not sent: %s", o.verb, why)
	}
	out.Command = c.ID
	var before *pool.PythonReport
	if t.python && !noWait {
		if before, err = s.pythonReport(ctx, t.id); err != nil {
			return out.fail(failed, "%s was not sent: %v", o.verb, err)
		}
	}
	switch err = s.send(ctx, t.id, c); {
	case errors.Is(err, pool.ErrNoSuchNode):
		out = out.fail(noSuchNode, "%v", nearest(ctx, s.pool, t.id, err))
		out.code = cli.NoNode
		return out
	case errors.Is(err, pool.ErrMayBeDone):
		return out.fail(string(pool.Unknown), "%s may have been sent (command %s): see bbctl result %s; %v", o.verb, c.ID, c.ID, err)
	case err != nil:
		return out.fail(failed, "%s was not sent: %v", o.verb, err)
	case noWait:
		out.Result, out.text = queued, fmt.Sprintf("%s queued (command %s)", o.verb, c.ID)
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, o.for_)
	defer cancel()
	if before != nil {
		return s.pythonResult(ctx, out, o, before)
	}
	r, err := s.pool.WaitResult(ctx, c.ID, changed)
	return out.read(o.verb, r, err)
}
