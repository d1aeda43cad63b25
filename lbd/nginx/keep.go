package nginx

import (
	"context"
	"errors"
	"strings"

	"github.com/bazbeans/bazbeans/step"
)

// ErrUnproven says that Nginx is not proven to serve what is on disk.
var ErrUnproven = errors.New("nginx is not proven to serve what is on disk")

// Keep writes files that Nginx need not read now, since it serves what they say by other means already: it will read
// them when it is started or reloaded the next time. They are tested and installed as by Apply; there is no reload. Nginx
// must be proven to serve what is on disk, else the error is ErrUnproven and nothing has changed; what was proven then
// holds for files.
func (n *Nginx) Keep(ctx context.Context, files []File, generation int64) error {
	unlock, err := n.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	b, err := n.build(ctx)
	if err != nil {
		return err
	}
	outs, err := n.outputs(files)
	if err != nil {
		return err
	}
	m, run, err := n.master(b)
	if err != nil && !errors.As(err, new(*absence)) {
		return step.Wrap(step.Install, err)
	}
	if !n.serves(ctx, m, outs) {
		return ErrUnproven
	}
	if len(differing(outs)) == 0 {
		return nil
	}
	s := n.setupAs(b, run)
	n.sweep(s, outs)
	defer discard(outs)
	if err := stage(outs); err != nil {
		return err
	}
	t, err := n.test(ctx, s, outs, nil)
	if err != nil {
		return err
	}
	changed, err := n.order(ctx, s, outs)
	if err == nil {
		err = n.install(changed)
	}
	if err == nil && !t.unchanged() {
		err = n.again(ctx, s, changed)
	}
	if err != nil {
		return err
	}
	n.learn(s, t)
	p := n.lastProof()
	p.Master, p.Files, p.Generation, p.Sums = m, identify(outs), generation, n.keepVerified(outs, (*output).wanted)
	n.record(p)
	if err := syncDirs(changed); err != nil {
		return step.Errorf(step.Install, "", "a power failure may bring the former files back: %w", err)
	}
	return nil
}

// serves tells whether m, or the master that can't be seen, is proven to serve what is on disk.
func (n *Nginx) serves(ctx context.Context, m process, outs []*output) bool {
	if m != (process{}) {
		return n.proven(m, outs)
	}
	p := n.lastProof()
	return n.unseen() && p.holds(outs) && n.answers(ctx, p) == nil
}

// Served returns what is on disk at the paths of files if Nginx is proven to serve it, else ErrUnproven. It does not wait
// for an Apply.
func (n *Nginx) Served(ctx context.Context, files []File) ([]File, error) {
	b, err := n.build(ctx)
	if err != nil {
		return nil, err
	}
	outs, err := n.outputs(files)
	if err != nil {
		return nil, err
	}
	m, _, err := n.master(b)
	if err != nil && !errors.As(err, new(*absence)) {
		return nil, err
	}
	if !n.serves(ctx, m, outs) {
		return nil, ErrUnproven
	}
	served := make([]File, len(outs))
	for i, o := range outs {
		served[i] = File{Path: o.Path, Data: o.live, Remove: !o.exists}
	}
	return served, nil
}

// WorkerOf reports whether a process of this host, in lbd's own PID namespace, is a worker of a master.
func WorkerOf(master, pid int) bool {
	p, parent, ok := stat(pid)
	return ok && parent == master && strings.HasPrefix(p.title(), workerTitle)
}
