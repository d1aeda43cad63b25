package nginx

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bazbeans/bazbeans/step"
)

// Apply brings Nginx to serve files: test, install, reload, verify. With several files there is one test and one
// reload. It may be called again and again with the same files: what is done and proven is not done again, and what
// failed is tried again though the files on disk are equal.
//
// An error names its step. Before "install" it means that nothing was changed; after it, that the former files were
// put back and are served again, or the error says that they could not be.
//
// generation is the caller's number of what files are, for the proof listener.
func (n *Nginx) Apply(ctx context.Context, files []File, generation int64) (Outcome, error) {
	return n.apply(ctx, files, generation, false)
}

// Reapply is an Apply that reloads whatever is proven: Nginx may run what is not on disk any more.
func (n *Nginx) Reapply(ctx context.Context, files []File, generation int64) (Outcome, error) {
	return n.apply(ctx, files, generation, true)
}

func (n *Nginx) apply(ctx context.Context, files []File, generation int64, anew bool) (Outcome, error) {
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
	if out.Foreign = err != nil || n.foreign(outs); err != nil {
		return out, err
	}
	m, run, err := n.master(b)
	gone := new(absence)
	if err != nil && !errors.As(err, &gone) { // we could not tell whether a reload is needed, or prove it
		return out, step.Wrap(step.Reload, err)
	}
	s := n.setupAs(b, run)
	reached := n.reaches(s, outs)
	if reached && !anew && len(differing(outs)) == 0 {
		if done, err := n.already(ctx, m, gone, outs, &out); done {
			return out, err
		}
	}
	if !reached { // the test says so
		out.Foreign = true
		n.disprove()
	}
	n.sweep(s, outs)
	defer discard(outs)
	err = n.change(ctx, s, outs, generation, &out)
	return out, err
}

// foreign tells whether what differs is neither what was proven last nor of that content.
func (n *Nginx) foreign(outs []*output) bool {
	p := n.lastProof()
	return slices.ContainsFunc(differing(outs), func(o *output) bool {
		if id, ok := p.Files[o.real]; ok && id == o.id {
			return false
		}
		return !o.exists || p.Sums[o.real] != sum(o.live)
	})
}

// already tells whether there is nothing to do, since what is on disk is what is wanted and m, or the one that can't be
// seen, is proven to serve it; or nobody is there to serve it.
func (n *Nginx) already(ctx context.Context, m process, gone *absence, outs []*output, out *Outcome) (bool, error) {
	p := n.lastProof()
	if m != (process{}) {
		if !n.proven(m, outs) {
			return false, nil
		}
		workers, draining := m.crew()
		out.Running, out.Workers, out.Draining = true, len(workers), len(draining)
		return true, nil
	}
	conf, err := n.known(ctx)
	if n.unseen() {
		out.Running = p.holds(outs) && n.answers(ctx, p) == nil
		out.Draining = p.maybe(conf)
		return out.Running, err
	}
	if !p.holds(outs) {
		n.record(proof{Files: identify(outs)}) // so that a master that starts after this needs no reload
	}
	out.Why = conf.why(gone)
	return true, err
}

// change takes outs through the steps. What differs from the live path is installed; the reload is asked for in any
// case.
func (n *Nginx) change(ctx context.Context, s setup, outs []*output, generation int64, out *Outcome) error {
	began := time.Now()
	w, err := n.witness(generation, outs)
	if err != nil {
		return err
	}
	defer n.dismiss(w)
	if err := stage(w.outputs(outs)); err != nil {
		return err
	}
	t, err := n.test(ctx, s, outs, w)
	var changed []*output
	if err == nil {
		changed, err = n.order(ctx, s, outs)
	}
	out.Took[step.Test] = time.Since(began)
	if err != nil {
		return err
	}

	began = time.Now()
	err = w.install()
	if err == nil {
		err = n.install(changed)
	}
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
	gone := new(absence)
	unseen := errors.As(err, &gone) && n.unseen()
	there := m != process{} || unseen && n.answers(ctx, n.lastProof()) == nil
	if err == nil || unseen {
		err = n.reload(ctx, s, m, t, w, out)
	}
	switch {
	case err == nil:
		out.Reloaded, out.Running = true, true
		p := proof{Master: m, Args: run, Files: now, Generation: generation}
		p.replaces(n.lastProof(), conf)
		p.Sums = n.keepVerified(outs, (*output).wanted)
		p.Asked, p.Answer = w.says()
		n.record(p)
		return nil
	case errors.As(err, &gone):
		n.record(proof{Files: now})
		out.Why = conf.why(gone)
		return nil
	case errors.As(err, new(*lingering)):
		return &step.Error{Step: step.Verify, Err: err, Hint: "the new files stay; see what holds these workers up, and end them if need be"}
	case ctx.Err() != nil: // lbd stops: nothing is known to be wrong, and the next lbd proves it
	case !there: // as far as we know, nobody serves the former files either
		return unshown(err)
	case len(changed) > 0:
		return n.back(ctx, s, m, run, t, outs, out, err)
	}
	return step.Wrap(step.Reload, err)
}

// dismiss ends what is for the time of a reload.
func (n *Nginx) dismiss(w *witness) {
	if err := w.remove(); err != nil {
		n.log.Error("cannot remove the proof listener's file: Nginx starts with it, too", "err", err)
	}
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

// back puts the last proven files back after a failed reload and proves that Nginx serves them. It returns cause, with
// what came of that.
func (n *Nginx) back(ctx context.Context, s setup, m process, run args, t *tree, outs []*output, out *Outcome, cause error) error {
	failed := func(err error) error {
		return fmt.Errorf("%w; and the former files are not proven to be served: %w", cause, err)
	}
	content, err := n.revert(ctx, s, outs)
	if err != nil {
		return failed(err)
	}
	out.Changed = false
	p := proof{Master: m, Args: run, Files: identify(outs), Generation: n.lastProof().Generation}
	w, err := n.witnessOf(p.Generation, outs, content)
	if err != nil {
		return failed(err)
	}
	defer n.dismiss(w)
	undone := Outcome{Took: out.Took}
	if err := n.reload(ctx, s, m, t, w, &undone); err != nil {
		return failed(err)
	}
	out.Workers, out.Draining = undone.Workers, undone.Draining
	last := n.lastProof()
	out.Foreign = out.Foreign && slices.ContainsFunc(outs, func(o *output) bool { return last.Sums[o.real] != sum(content(o)) })
	p.replaces(last, n.learn(s, t))
	p.Sums = n.keepVerified(outs, content)
	p.Asked, p.Answer = w.says()
	n.record(p)
	return cause
}
