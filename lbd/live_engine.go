package lbd

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/bazbeans/bazbeans/lbd/live"
	"github.com/bazbeans/bazbeans/lbd/nginx"
	"github.com/bazbeans/bazbeans/render"
	"github.com/bazbeans/bazbeans/step"
)

// liveKind is one way to take peers into a running Nginx: what it needs in the output files, and the channel to it.
type liveKind interface {
	name() string
	// view makes a view one of this kind, or says why it can't be.
	view(*render.View) error
	// common is what stands before the first live upstream's block, at http level; "" for nothing.
	common() string
	// strip returns the text of an output file without its peers, and the peers.
	strip(text []byte) (rest []byte, upstreams []live.Upstream, err error)
	// bridge returns files for a reload between what Nginx runs and files, because it would have no peers at first with
	// these alone; nil when there is no need. runs are the live upstreams that Nginx runs.
	bridge(files []nginx.File, runs []string) []nginx.File
	// fits says why the operator's configuration does not go with it any more.
	fits(context.Context) error
	// giveBack is called before a reload, and when the kind is not used any more: what Nginx may close is where it expects it.
	giveBack()
	// reached is called when Nginx may have been started or reloaded: the channel may have to be found anew.
	reached()
	start() error // begins to serve; close ends that
	close()
	live.Channel
}

// errChannel is wrapped when Nginx can't be told of peers: its upstreams have to be plain ones then.
var errChannel = errors.New("nginx can't be told of peers")

// liveEngine takes peers into a running Nginx without a reload. The output files hold them as well, so that an Nginx that is
// started or reloaded begins with the newest; what else is in those files, their structure, goes in by reloads.
type liveEngine struct {
	reloads
	kind   liveKind
	log    *slog.Logger
	files  *keeper
	starts map[string]time.Duration // slow_start, by upstream

	// All that follows belongs to the loop.
	slots    slots
	running  string       // structure that Nginx is proven to run; "": not known
	runs     []string     // the live upstreams in it
	pushed   string       // sum of the peers that it goes by
	lost     bool         // running is not known because an apply has failed: Nginx may be live all the same
	whole    bool         // every upstream of lbd's is live in it
	counted  map[int]bool // workers that began with such a structure, and count all that they send
	again    bool         // a worker has failed to go by what was pushed: it has to be pushed once more
	repeated bool         // it was
	broken   string       // and a worker has failed again; "": none has
	about    pieces       // of the plan looked at last

	read map[[sha256.Size]byte][sha256.Size]byte // structures by skeleton
}

func newLiveEngine(n *nginx.Nginx, kind liveKind, cfg *Config, log *slog.Logger) *liveEngine {
	e := &liveEngine{reloads: reloads{n}, kind: kind, log: log, files: newKeeper(n, cfg.Timing.MinInterval, log), starts: map[string]time.Duration{}}
	for _, u := range cfg.Upstreams {
		e.starts[u.Name] = u.Server.SlowStart
	}
	return e
}

const (
	pushTimeout  = 2 * time.Second // for one push; a stopped worker answers none
	reachTimeout = 3 * time.Second // for the channel to work after a reload
	reachPoll    = 20 * time.Millisecond
	crossTimeout = 10 * time.Second // for Nginx to look up its peers for the first time
)

// Reloads implements Engine.
func (e *liveEngine) Reloads(p *Plan) bool {
	want, err := e.cut(p)
	return err != nil || !want.live() || want.structure != e.running
}

// Ahead implements Engine.
func (e *liveEngine) Ahead(ctx context.Context, p *Plan) error {
	want, err := e.cut(p)
	if err != nil || !want.live() || e.running == "" || want.sum == e.pushed {
		return err
	}
	return e.push(ctx, p.generation, want)
}

// Apply implements Engine. Peers alone go in at once; where the structure differs they go in before the reload, so that a
// node that is taken out need not wait for that.
func (e *liveEngine) Apply(ctx context.Context, p *Plan) (Outcome, error) {
	want, err := e.cut(p)
	if err != nil || !want.live() {
		e.forget()
		e.kind.giveBack()
		out, err := e.reloads.Apply(ctx, p)
		if err != nil {
			e.lost = e.resume(ctx, p) != nil
		}
		return out, err
	}
	if e.broken != "" {
		return Outcome{}, step.Wrap(step.Push, fmt.Errorf("%w: %s", errChannel, e.broken))
	}
	if want.structure == e.running && want.sum != e.pushed {
		began := time.Now()
		if err := e.push(ctx, p.generation, want); err == nil {
			e.files.write(p.Files, p.generation)
			return applied(time.Since(began)), nil
		}
		// Is it another Nginx than we believe?
	}
	if err := e.kind.fits(ctx); err != nil {
		return Outcome{}, step.Wrap(step.Push, fmt.Errorf("%w: %w", errChannel, err))
	}
	if want.structure == e.running && e.files.writing() {
		// The files have yet to follow. That may take long, when Nginx looks up names in its test; peers don't wait for it.
		return applied(0).unchanged(), e.reach(ctx, p, want)
	}
	before := e.pushed
	if e.resume(ctx, p) == nil && want.structure == e.running {
		if err := e.reach(ctx, p, want); err != nil {
			return Outcome{}, err
		}
		e.files.write(p.Files, p.generation)
		out := applied(0)
		out.Changed = before != want.sum
		return out, nil
	}
	if err := e.Ahead(ctx, p); err != nil {
		e.log.Debug("peers have to wait for the reload", "error", err)
	}
	e.files.drop()
	bridge := e.kind.bridge(p.Files, e.runs)
	e.forget()
	e.kind.giveBack()
	if bridge != nil {
		if out, err := e.cross(ctx, p, bridge, want); err != nil || !out.Running {
			e.lost = err != nil && e.resume(ctx, p) != nil
			return out, err
		}
	}
	out, err := e.reloads.Apply(ctx, p)
	if err != nil {
		e.lost = e.resume(ctx, p) != nil // what is served may be live all the same
		return out, e.unusable(ctx, err)
	}
	e.files.wrote(p.generation)
	if !out.Running {
		return out, e.unusable(ctx, e.Nginx.Test(ctx, p.Files))
	}
	e.running, e.runs, e.whole = want.structure, want.names(), len(want.upstreams) == len(p.Files)
	return out, e.reach(ctx, p, want)
}

// cross brings Nginx to run a bridge, with which it learns its peers while it has others to send to.
func (e *liveEngine) cross(ctx context.Context, p *Plan, bridge []nginx.File, want pieces) (Outcome, error) {
	over := *p
	over.Files = bridge
	out, err := e.reloads.Apply(ctx, &over)
	if err != nil || !out.Running {
		return out, err
	}
	if err := e.push(ctx, p.generation, want); err != nil {
		return out, step.Wrap(step.Push, fmt.Errorf("%w: %w", errChannel, err))
	}
	for deadline := time.Now().Add(crossTimeout); ; {
		is, err := e.kind.State(ctx)
		if err == nil && is.Pending == "" {
			return out, nil
		}
		if err == nil {
			err = errors.New(is.Pending)
		}
		if time.Now().After(deadline) {
			return out, step.Wrap(step.Push, fmt.Errorf("%w: %w", errChannel, err))
		}
		select {
		case <-ctx.Done():
			return out, ctx.Err()
		case <-time.After(reachPoll):
		}
	}
}

// unusable says of a test's error that the kind can't be had, while Nginx is stopped: with the kind's directives it might
// not start any more, as when its module is not loaded.
func (e *liveEngine) unusable(ctx context.Context, err error) error {
	if err == nil || step.Of(err) != step.Test {
		return err
	}
	if s, blind := e.reloads.State(ctx); blind != nil || s.Up() {
		return err
	}
	return fmt.Errorf("%w: it would not start: %w", errChannel, err)
}

// unchanged is an outcome of nothing to do.
func (o Outcome) unchanged() Outcome {
	o.Changed = false
	return o
}

func applied(took time.Duration) Outcome {
	out := Outcome{Live: true}
	out.Changed, out.Running = true, true
	out.Took = map[step.Name]time.Duration{step.Push: took}
	return out
}

// forget drops what is believed of the running Nginx.
func (e *liveEngine) forget() {
	e.running, e.pushed, e.runs, e.whole, e.lost = "", "", nil, false, false
	e.kind.reached()
}

// resume learns what the running Nginx is proven to serve, by the files on disk, and what it was pushed.
func (e *liveEngine) resume(ctx context.Context, p *Plan) error {
	e.forget()
	served, err := e.Nginx.Served(ctx, p.Files)
	if err != nil {
		return err
	}
	is, err := e.pieces(served)
	if err != nil || !is.live() {
		return err
	}
	e.running, e.runs, e.whole = is.structure, is.names(), len(is.upstreams) == len(served)
	return nil
}

// reach makes sure that Nginx goes by the peers, and waits a little for the channel to work.
func (e *liveEngine) reach(ctx context.Context, p *Plan, want pieces) error {
	for deadline := time.Now().Add(reachTimeout); ; {
		err := e.converge(ctx, p, want)
		if err == nil || ctx.Err() != nil {
			return err
		}
		e.kind.reached()
		if time.Now().After(deadline) {
			return step.Wrap(step.Push, fmt.Errorf("%w: %w", errChannel, err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(reachPoll):
		}
	}
}

// converge pushes the peers unless Nginx goes by them already.
func (e *liveEngine) converge(ctx context.Context, p *Plan, want pieces) error {
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	if err := e.known(ctx); err != nil {
		return err
	}
	is, ok, err := e.kind.Current(ctx)
	if err != nil {
		return err
	}
	if ok {
		e.slots.adopt(is)
		if is.Sum == want.sum && is.Generation == p.generation && !e.again || p.standing && is.Generation > p.generation {
			// Standing, lbd may remember less than it has pushed: it was killed before it wrote that down.
			e.pushed = want.sum
			return nil
		}
	} else {
		e.slots.fresh = true // it begins with what the files say
	}
	return e.push(ctx, p.generation, want)
}

// known returns an error when the channel leads to another Nginx than the one that is kept.
func (e *liveEngine) known(ctx context.Context) error {
	s, err := e.reloads.State(ctx)
	if err != nil {
		return err
	}
	is, err := e.kind.State(ctx)
	if err == nil {
		_, err = ended(is.Workers, s.Master)
	}
	return err
}

func (e *liveEngine) push(ctx context.Context, generation int64, want pieces) error {
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	m := live.Message{Generation: generation, Sum: want.sum, Upstreams: e.slots.place(want.upstreams, e.starts, time.Now())}
	if err := e.kind.Push(ctx, m); err != nil {
		e.pushed = "" // it may have been taken all the same
		return err
	}
	e.pushed, e.again, e.repeated = want.sum, false, e.again
	return nil
}

// Close implements Engine.
func (e *liveEngine) Close() error { return e.files.close() }
