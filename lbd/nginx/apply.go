package nginx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bazbeans/bazbeans/step"
)

// Apply brings Nginx to serve files: test, install, reload, verify. With several files there is one test and one
// reload. It may be called again and again with the same files: what is done and proven is not done again, and what
// failed is tried again though the files on disk are equal.
//
// An error names its step. Before "install" it means that nothing was changed; after it, that the former files were
// put back and are served again, or the error says that they could not be.
func (n *Nginx) Apply(ctx context.Context, files []File) (Outcome, error) {
	out := Outcome{Took: map[step.Name]time.Duration{}}
	unlock, err := n.lock(ctx)
	if err != nil {
		return out, err
	}
	defer unlock()
	b, err := n.build(ctx)
	if err != nil {
		return out, err
	}
	outs, err := n.outputs(files)
	if err != nil {
		return out, err
	}
	m, run, err := n.master(b)
	a := new(absence)
	gone := errors.As(err, &a)
	if err != nil && !gone { // we could not tell whether a reload is needed, or prove it
		return out, step.Wrap(step.Reload, err)
	}
	if len(differing(outs)) == 0 {
		if gone {
			if !n.lastProof().holds(outs) {
				n.record(process{}, args{}, identify(outs)) // so that one that starts after this needs no reload
			}
			conf, err := n.known(ctx)
			out.Why = conf.why(a)
			return out, err
		}
		if n.proven(m, outs) {
			workers, draining := m.crew()
			out.Running, out.Workers, out.Draining = true, len(workers), len(draining)
			return out, nil
		}
	}
	s := n.setupAs(b, run)
	n.sweep(s, outs)
	defer discard(outs)
	err = n.change(ctx, s, outs, &out)
	return out, err
}

// change takes outs through the steps. What differs from the live path is installed; the reload is asked for in any
// case.
func (n *Nginx) change(ctx context.Context, s setup, outs []*output, out *Outcome) error {
	began := time.Now()
	if err := stage(outs); err != nil {
		return err
	}
	t, err := n.test(ctx, s, outs)
	var changed []*output
	if err == nil {
		changed, err = n.order(ctx, s, outs)
	}
	out.Took[step.Test] = time.Since(began)
	if err != nil {
		return err
	}

	began = time.Now()
	err = n.install(changed)
	if err == nil && !t.unchanged() {
		err = n.again(ctx, s, changed)
	}
	out.Took[step.Install] = time.Since(began)
	if err != nil {
		return err
	}
	out.Changed = len(changed) > 0
	conf := n.learn(s, t)
	now := identify(outs)

	n.tidy.Go(func() { // the disk writes while Nginx reloads
		if err := syncDirs(changed); err != nil {
			n.log.Error("a power failure may bring the former files back", "step", step.Install, "err", err)
		}
	})

	m, run, err := n.master(s.build) // asked again: it may have come or gone during the test
	if err == nil {
		err = n.reload(ctx, s, m, t, out)
	}
	gone := new(absence)
	switch {
	case err == nil:
		out.Reloaded, out.Running = true, true
		n.record(m, run, now)
		return nil
	case errors.As(err, &gone):
		n.record(process{}, args{}, now)
		out.Why = conf.why(gone)
		return nil
	case errors.As(err, new(*lingering)):
		return &step.Error{Step: step.Verify, Err: err, Hint: "the new files stay; see what holds these workers up, and end them if need be"}
	case ctx.Err() != nil: // lbd stops: nothing is known to be wrong, and the next lbd proves it
	case len(changed) > 0 && m != process{}:
		return n.back(ctx, s, m, run, t, outs, out, err)
	}
	return step.Wrap(step.Reload, err)
}

// again is the second test, for when something beside our files changed since the first one.
func (n *Nginx) again(ctx context.Context, s setup, changed []*output) error {
	why, err := n.testLive(ctx, s)
	if err == nil && why != "" {
		err = step.Errorf(step.Test, "mend it until `nginx -t` passes; the former files were put back, no reload was asked for",
			"somebody changed the configuration during the test, and nginx refuses it now: %s", why)
	}
	if err != nil {
		if undo := restore(changed); undo != nil {
			err = errors.Join(err, undo)
		}
	}
	return err
}

// back puts the former files back after a failed reload and proves that Nginx serves them. It returns cause, with
// what came of that.
func (n *Nginx) back(ctx context.Context, s setup, m process, run args, t *tree, outs []*output, out *Outcome, cause error) error {
	failed := func(err error) error {
		return fmt.Errorf("%w; and the former files are not proven to be served: %w", cause, err)
	}
	if err := restore(outs); err != nil {
		return failed(err)
	}
	out.Changed = false
	now := identify(outs)
	undone := Outcome{Took: out.Took}
	if err := n.reload(ctx, s, m, t, &undone); err != nil {
		return failed(err)
	}
	out.Workers, out.Draining = undone.Workers, undone.Draining
	n.record(m, run, now)
	return cause
}
