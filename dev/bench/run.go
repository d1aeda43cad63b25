package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bazbeans/bazbeans/dev/load"
)

// perTurn is how many cycles a contender makes at a time: few, so that a machine that is slow for a while is slow for
// all, and enough to keep the start of the load a small part.
const perTurn = 5

// measure runs everything that o names and returns what was measured. When ctx ends early that is what there is by then,
// and no error; when something else goes wrong it comes beside the error. It is nil unless every contender has figures.
// Progress goes to log.
func measure(ctx context.Context, o options, log io.Writer) (res *results, err error) {
	s, err := startSite(ctx, o, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	lanes, err := startLanes(ctx, s, o)
	if err != nil {
		return nil, err
	}
	res = newResults(o, lanes)
	if err = takeTurns(ctx, s, o, lanes, res, log); err == nil {
		err = res.measureParts(ctx, s, o, log)
	}
	res.Interrupted = err != nil
	if ctx.Err() != nil {
		err = nil
	}
	for _, out := range res.Contenders {
		if len(out.Samples) == 0 {
			return nil, errors.Join(err, fmt.Errorf("stopped before %s had finished a cycle", out.Name))
		}
		out.summarize()
	}
	res.compare()
	res.Verdicts = res.judge()
	return res, err
}

// startLanes starts the contenders that o names.
func startLanes(ctx context.Context, s *site, o options) ([]*lane, error) {
	var lanes []*lane
	for _, p := range plans(o) {
		if !o.does(p.name) {
			continue
		}
		l, err := newLane(ctx, s, p, o.Rate)
		if err != nil {
			return nil, err
		}
		lanes = append(lanes, l)
	}
	return lanes, nil
}

// takeTurns lets the contenders make their cycles, a few at a time: A B A B. The load of one turn ends before the next
// begins, and all that works for another contender sleeps meanwhile.
func takeTurns(ctx context.Context, s *site, o options, lanes []*lane, res *results, log io.Writer) error {
	began := selfCPU()
	defer func() { res.OwnCPU = percent(selfCPU()-began, res.loaded()) }()
	turns := (o.Cycles + o.perTurn - 1) / o.perTurn
	for n := range turns {
		for i, l := range lanes {
			out := res.Contenders[i]
			t := &turn{lane: l, out: out, from: n * l.cycles / turns, to: (n + 1) * l.cycles / turns, log: log}
			if err := t.run(ctx, o); err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
			fmt.Fprintf(log, "turn %d of %d: %-7s %s\n", n+1, turns, l.name, out.since(t.from+1))
		}
	}
	return nil
}

// turn is one turn of one contender: its cycles from (counted from 0) up to the one before to.
type turn struct {
	*lane
	out      *outcome
	from, to int
	log      io.Writer
}

// run sends the load and makes the cycles. What the clients saw counts also when it returns an error.
func (t *turn) run(ctx context.Context, o options) error {
	report, err := underLoad(ctx, t.front, o, t.cycles)
	t.out.clients(report, o.Conns)
	return err
}

// underLoad sends requests to a front until act has returned; the report counts them also beside act's error.
func underLoad(ctx context.Context, f front, o options, act func(context.Context) error) (report load.Report, err error) {
	generator, err := load.New(load.Options{
		URL: "http://" + f.addr() + "/", Rate: o.Rate, Conns: o.Conns, PostShare: o.Post, Body: make([]byte, 256),
	})
	if err != nil {
		return report, err
	}
	loading, stop := context.WithCancel(ctx)
	defer stop()
	var group errgroup.Group
	group.Go(func() (err error) {
		report, err = generator.Run(loading)
		return err
	})
	err = act(ctx)
	stop()
	return report, errors.Join(err, group.Wait())
}

func (t *turn) cycles(ctx context.Context) error {
	if err := t.calm(ctx, nil); err != nil { // the load begins
		return err
	}
	end, err := t.account(ctx)
	if err != nil {
		return err
	}
	for n := t.from; n < t.to; n++ {
		node := t.site.nodes[n%len(t.site.nodes)]
		drain, back, err := t.cycle(ctx, node)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			fmt.Fprintf(t.log, "%s: cycle %d failed: %v\n", t.name, n+1, err)
			t.out.Errors = append(t.out.Errors, err.Error())
			if err := t.mend(ctx, node.ID()); err != nil {
				return err
			}
		default:
			t.out.Samples = append(t.out.Samples, sample{Cycle: n + 1, Node: node.ID(), Drain: ms(drain), Back: ms(back)})
		}
	}
	return end()
}

// mend brings the node back after a cycle that went wrong, or gives up.
func (t *turn) mend(ctx context.Context, node string) error {
	if d := t.daemon(); d != nil && !d.alive() {
		return fmt.Errorf("it has ended: %v; its log ends:\n%s", d.err, d.tail())
	}
	if err := t.unfreeze(ctx, node); err != nil {
		return err
	}
	return t.calm(ctx, nil)
}

// account begins to count what the contender's process and the front use, and what the steps cost; end adds that to the
// outcome.
func (t *turn) account(ctx context.Context) (end func() error, err error) {
	before, err := t.look(ctx)
	if err != nil {
		return nil, err
	}
	return func() error {
		after, err := t.look(ctx)
		if err != nil {
			return err
		}
		t.out.used(before, after)
		return nil
	}, nil
}

// meter is what has been used by some moment.
type meter struct {
	at            time.Time
	daemon, front footprint
	tree          []int // the front's processes
	steps         stepTimes
}

func (t *turn) look(ctx context.Context) (meter, error) {
	m := meter{at: time.Now()}
	var errs [4]error
	m.daemon, errs[0] = t.daemon().footprint()
	m.front, errs[1] = frontUse(t.front)
	m.tree, errs[2] = t.tree()
	m.steps, errs[3] = t.steps(ctx)
	return m, errors.Join(errs[:]...)
}

// selfCPU is what this process has used: the generator, the nodes, the measuring.
func selfCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it takes no argument that could be wrong
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
