package lbd

import (
	"bytes"
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
	// lines reports whether a live upstream's server lines stand for its peers alone, and are no structure.
	lines() bool
	// strip returns the text of an output file without its peers, and the peers.
	strip(text []byte) (rest []byte, upstreams []live.Upstream, err error)
	// bridge returns files for a reload between what Nginx runs and files, because it would have no peers at first with
	// these alone; nil when there is no need. runs are the live upstreams that Nginx runs.
	bridge(files []nginx.File, runs []string) []nginx.File
	// fits says why the operator's configuration does not go with it any more.
	fits(context.Context) error
	// giveBack is called before a reload, and when the kind is not used any more: what Nginx may close is where it expects it.
	giveBack()
	// ready makes again what the kind needs on disk, for Nginx's test of its files, where that has been removed.
	ready() error
	// reached is called when Nginx may have been started or reloaded: the channel may have to be found anew.
	reached()
	start() error // begins to serve; close ends that
	close()
	live.Channel
}

// bridgeMark stands in the text of a bridge, and nowhere else.
const bridgeMark = "# until nginx has asked for its peers"

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
	onBridge bool         // it is a bridge: see liveKind
	pushed   string       // sum of the peers that it goes by
	lost     bool         // running is not known because an apply has failed: Nginx may be live all the same
	whole    bool         // every upstream of lbd's is live in it, and nothing else sends to nodes
	counted  map[int]bool // workers that began with such a structure, and count all that they send
	again    bool         // a worker has failed to go by what was pushed: it has to be pushed once more
	repeated bool         // it was
	broken   string       // and a worker has failed again; "": none has
	about    pieces       // of the plan looked at last

	read map[[sha256.Size]byte]reading // texts by skeleton
}

func newLiveEngine(n *nginx.Nginx, kind liveKind, cfg *Config, log *slog.Logger) *liveEngine {
	e := &liveEngine{reloads: reloads{n}, kind: kind, log: log, files: newKeeper(n, kind.ready, cfg.Timing.MinInterval, log), starts: map[string]time.Duration{}}
	for _, u := range cfg.Upstreams {
		e.starts[u.Name] = u.Server.SlowStart
	}
	return e
}

// Reloads implements Engine.
func (e *liveEngine) Reloads(p *Plan) bool {
	want, err := e.cut(p)
	return err != nil || !want.live() || want.structure != e.running || p.anew
}

// Ahead implements Engine.
func (e *liveEngine) Ahead(ctx context.Context, p *Plan) error {
	want, err := e.cut(p)
	if err != nil || !want.live() || e.running == "" || want.sum == e.pushed {
		return err
	}
	if e.slots.upstreams == nil { // who has which slot is what the lbd before us said last
		_, err := e.converge(ctx, p, want)
		return err
	}
	return e.push(ctx, p.generation, want)
}

// Apply implements Engine. Peers alone go in at once; where the structure differs they go in before the reload, so that a
// node that is taken out need not wait for that.
func (e *liveEngine) Apply(ctx context.Context, p *Plan) (Outcome, error) {
	want, err := e.cut(p)
	if err != nil || !want.live() {
		e.files.drop()
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
	before := e.pushed
	if !p.anew && want.structure == e.running && want.sum != e.pushed && e.pushed != "" {
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
	// While files have yet to follow, what runs can't be read off them. That may take long, when Nginx looks up names in its
	// test; peers don't wait for it.
	following := want.structure == e.running && e.files.writing()
	if !p.anew && (following || e.resume(ctx, p) == nil && want.structure == e.running) {
		pushed, err := e.reach(ctx, p, want)
		if err != nil {
			return Outcome{}, err
		}
		out := applied(0)
		if out.Changed = pushed || before != "" && before != want.sum; out.Changed || !following {
			e.files.write(p.Files, p.generation)
		}
		return out, nil
	}
	ahead := e.Ahead(ctx, p)
	e.files.drop()
	if e.onBridge {
		if err := e.across(ctx, ahead); err != nil {
			return Outcome{}, err
		}
	} else if ahead != nil {
		e.log.Debug("peers have to wait for the reload", "error", ahead)
	}
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
	e.running, e.runs, e.whole = want.structure, want.names(), e.all(p, want)
	_, err = e.reach(ctx, p, want)
	return out, err
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

func applied(took time.Duration) Outcome {
	out := Outcome{Live: true}
	out.Changed, out.Running = true, true
	out.Took = map[step.Name]time.Duration{step.Push: took}
	return out
}

// forget drops what is believed of the running Nginx.
func (e *liveEngine) forget() {
	e.running, e.pushed, e.runs, e.whole, e.onBridge, e.lost = "", "", nil, false, false, false
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
	e.running, e.runs, e.whole = is.structure, is.names(), e.all(p, is)
	for _, f := range served {
		e.onBridge = e.onBridge || bytes.Contains(f.Data, []byte(bridgeMark))
	}
	return nil
}

// all reports whether the live upstreams are all that Nginx has of lbd, those that left the config included.
func (e *liveEngine) all(p *Plan, live pieces) bool {
	return len(live.upstreams) == len(e.starts) && len(p.Orphans) == 0 && !live.beside
}

// Close implements Engine.
func (e *liveEngine) Close() error { return e.files.close() }
