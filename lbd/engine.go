package lbd

import (
	"context"

	"github.com/bazbeans/bazbeans/lbd/nginx"
)

// Engine brings a plan into one Nginx. What stands above it does not know how: by files and a reload, or live.
type Engine interface {
	// Test says whether Nginx would take the plan. Nothing changes.
	Test(ctx context.Context, p *Plan) error
	// Apply makes Nginx serve the plan and proves it, or leaves it serving what it did. It is cheap when the plan is
	// served already, and then also finds out whether that is still true.
	Apply(ctx context.Context, p *Plan) (Outcome, error)
	// State is what Nginx does right now; cheap.
	State(ctx context.Context) (State, error)

	// Reloads reports whether Apply would reload, as far as that can be told beforehand.
	Reloads(p *Plan) bool
	// Ahead takes what it can of p into Nginx without a reload, for when the reload has to wait.
	Ahead(ctx context.Context, p *Plan) error
	// Close returns when what is still to be written is.
	Close() error
}

// Outcome is an nginx.Outcome.
type Outcome struct {
	nginx.Outcome
	Live bool // it went in without a reload; the files follow
}

// State is what Nginx does, and what a live engine knows beyond that.
type State struct {
	nginx.State
	Live       string         // the live engine; "": by reloads
	Generation int64          // of the peers that all that begins now goes by; with Live
	Pending    string         // what keeps that from the last one
	Busy       map[string]int // by node: what is under way on it, see pool.Ack; nil: not counted
	Written    int64          // generation on disk; with Live
	Behind     error          // why that is not the last one
	Lost       bool           // it does not go by what was applied any more
	Trouble    string         // what went wrong inside Nginx
}

// reloads is the engine that writes files and reloads.
type reloads struct{ *nginx.Nginx }

func (r reloads) Test(ctx context.Context, p *Plan) error { return r.Nginx.Test(ctx, p.Files) }

func (r reloads) Apply(ctx context.Context, p *Plan) (Outcome, error) {
	apply := r.Nginx.Apply
	if p.anew {
		apply = r.Nginx.Reapply
	}
	out, err := apply(ctx, p.Files, p.generation)
	return Outcome{Outcome: out}, err
}

func (r reloads) State(ctx context.Context) (State, error) {
	s, err := r.Nginx.State(ctx)
	return State{State: s}, err
}

func (r reloads) Reloads(*Plan) bool                 { return true }
func (r reloads) Ahead(context.Context, *Plan) error { return nil }
func (r reloads) Close() error                       { return nil }
