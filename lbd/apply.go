package lbd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/bazbeans/bazbeans/render"
	"github.com/bazbeans/bazbeans/step"
)

// apply has the engine bring the plan into Nginx, and notes what is proven then. If Nginx refuses what new templates
// made, the plan is made again with those proven before, so that a bad template holds up no change of the pool.
func (l *LB) apply(ctx context.Context, p *Plan) (Outcome, error) {
	l.wanted = generation{N: l.number(p), Hash: p.hash}
	p.generation = l.wanted.N
	began := time.Now()
	out, err := l.engine.Apply(ctx, p)
	took := time.Since(began)
	l.progress()
	ended := time.Now()
	l.lastCheck, l.renewed = began, false
	if out.Reloaded || err != nil {
		l.lastApply = ended
	}
	if out.Changed || out.Reloaded {
		l.lastChange = ended
	}
	for s, d := range out.Took {
		l.metrics.took(s, d)
	}
	l.metrics.applied(out, err)
	l.note(p, out, err, took)
	if err != nil {
		l.settled = false // what was served before is served still, or lbd/nginx has put it back
		if out.Foreign {
			l.serving = false // … or what somebody else put in its place
		}
		return out, err
	}
	l.settled, l.serving = true, out.Running
	l.released(p)
	before := l.running
	l.running = l.wanted
	l.served(p)
	l.logApplied(p, out, took, before)
	for _, u := range l.upstreams {
		if set, ok := p.Sets[u.Name]; ok {
			u.history.serve(time.Now(), l.cfg.Guard.Window, set, p.Guard[u.Name])
			u.placed(set)
			u.unknown = false
		}
	}
	l.keep(p, out.Running)
	return out, nil
}

// bring applies a plan, by reloads if Nginx can't be told of peers.
func (l *LB) bring(ctx context.Context, p *Plan) (Outcome, error) {
	out, err := l.apply(ctx, p)
	if errors.Is(err, errChannel) && ctx.Err() == nil {
		out, err = l.plainly(ctx, p, err)
	}
	return out, err
}

// number is the number that p has, or will have, as a generation.
func (l *LB) number(p *Plan) int64 {
	if p.hash != l.wanted.Hash {
		return l.wanted.N + 1
	}
	return l.wanted.N
}

// served notes that Nginx serves all that the plan wants, or what the guard kept instead. A pinned generation is of no
// revision: it may have nodes that were taken out since.
func (l *LB) served(p *Plan) {
	switch {
	case p.Pinned != nil:
		l.rev, l.held = 0, nil
	case p.Complete:
		l.rev, l.held = p.Rev, slices.Sorted(slices.Values(append(p.heldIDs(), p.orphanIDs...)))
	}
	l.revs = noteRev(l.revs, revOf{l.running.N, l.rev})
}

// settle does what the plan asks for, if anything, and if it may already: the first change after quiet goes in at
// once; while changes keep coming there is one reload in min_interval. What must wait is on the agenda. It returns the
// plan that holds now: p, or the one of older templates.
func (l *LB) settle(ctx context.Context, f *facts, p *Plan) *Plan {
	now := time.Now()
	if p.anew && now.Before(l.letGo.next) {
		p.anew, p.Orphans = false, append(p.Orphans, l.keepsOn)
	}
	// A look a resync after one that checked comes a little earlier than a resync after the check.
	if p.hash == l.running.Hash && l.settled && !p.anew && now.Sub(l.lastCheck) < l.cfg.Timing.Resync*9/10 {
		l.served(p)
		l.lastErr = p.problems()
		return p
	}
	if l.engine.Reloads(p) {
		if wait, err := l.mayReload(p, now); !wait.IsZero() {
			if err != nil {
				l.lastErr = errors.Join(err, p.problems())
			}
			p.generation = l.number(p)
			if err := l.engine.Ahead(ctx, p); err != nil {
				l.log.Debug("peers have to wait for the reload", "error", err)
			}
			l.agenda.at(wait)
			return p
		}
	}
	_, err := l.bring(ctx, p)
	if err != nil && p.anew && ctx.Err() == nil {
		// Its file went before what names it, most likely: the others do not wait for that.
		p.anew, p.Orphans, l.keepsOn = false, append(p.Orphans, err), err
		l.agenda.at(l.letGo.failed(now, ""))
		_, err = l.bring(ctx, p)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return p
	case err == nil && len(p.Errors) == 0 && p.Pinned == nil && f != nil && l.refused == nil:
		if !p.plain {
			l.proven = l.templates
		}
		l.retry.reset()
		clear(l.faulty)
	case err != nil && step.Of(err) == step.Test && f != nil && p.Pinned == nil:
		if less := l.lesser(ctx, f, p, err); less != nil {
			p, err = less, nil
		}
	}
	if err == nil {
		l.fails.reset()
		l.lastErr = p.problems()
	} else {
		l.lastErr = err
		l.agenda.at(l.fails.failed(now, p.hash))
	}
	l.say.change("apply", err, "nginx keeps what it serves", "nginx serves what is wanted again")
	return p
}

// mayReload returns until when a reload to p has to wait, zero for not at all, and why if that is a state of its own.
func (l *LB) mayReload(p *Plan, now time.Time) (wait time.Time, err error) {
	err = l.crowded(p)
	l.say.change("old generations", err, "what does not take a server out has to wait", "there is room for new configurations again")
	switch next := l.lastApply.Add(l.cfg.Timing.MinInterval); {
	case err != nil:
		return now.Add(time.Second), err
	case now.Before(next):
		return next, nil
	case l.fails.n > 0 && l.fails.hash == p.hash && now.Before(l.fails.next):
		return l.fails.next, nil
	}
	return time.Time{}, nil
}

// crowded returns an error while so many former configurations have workers left that p has to wait. What takes a server
// out, or moves it, never has to.
func (l *LB) crowded(p *Plan) error {
	if l.former < l.cfg.Timing.MaxOldGenerations || l.running.N == 0 || p.hash == l.running.Hash {
		return nil
	}
	for _, u := range l.upstreams {
		set, ok := p.Sets[u.Name]
		if !ok {
			continue
		}
		is := map[string]render.Server{}
		for _, s := range set {
			is[s.ID] = s
		}
		for id, was := range u.history.newest() {
			if s := is[id]; s.Down || s.Weight == 0 || s.Addr != was.Addr {
				return nil
			}
		}
	}
	return fmt.Errorf("%d old generations of nginx have workers left, max_old_generations is %d: see what holds them up, and set worker_shutdown_timeout",
		l.former, l.cfg.Timing.MaxOldGenerations)
}

// lesser looks for what can be applied of a plan that Nginx refused, applies it, and returns it; nil for nothing.
func (l *LB) lesser(ctx context.Context, f *facts, p *Plan, refusal error) *Plan {
	now := time.Now()
	if !l.templates.Equal(l.proven) {
		// Is it the changed templates? If those proven before pass, it is.
		older := l.plan(f, l.proven, now)
		if _, err := l.bring(ctx, older); err == nil {
			l.refused, l.refusal = l.templates, refusal
			l.agenda.at(l.retry.failed(now, p.hash))
			older.Errors = append(older.Errors, l.refusalError())
			l.sayTemplates(older)
			return older
		}
	}
	if !l.isolate(ctx, p, refusal) {
		return nil
	}
	most := l.plan(f, l.usable(now), now) // it leaves out what is found at fault
	if _, err := l.bring(ctx, most); err != nil {
		return nil
	}
	l.sayTemplates(most)
	return most
}

// sayTemplates logs which templates can't be used, when that changes.
func (l *LB) sayTemplates(p *Plan) {
	l.say.change("templates in use", errors.Join(p.Errors...), "not all can be rendered or installed as it should: what was proven before stays", "all is rendered and installed as it should be again")
}

func (l *LB) refusalError() error {
	return fmt.Errorf("changed templates are not used: %w", l.refusal)
}

// usable returns the templates to render with: the folder's, or those proven before while Nginx refuses the folder's.
func (l *LB) usable(now time.Time) *render.Set {
	if l.refused != nil && now.After(l.retry.next) {
		l.refused = nil // something else may have been at fault: try again
	}
	if l.refused != nil {
		return l.proven
	}
	return l.templates
}

func (p *Plan) heldIDs() []string {
	var ids []string
	for _, v := range p.Guard {
		ids = append(ids, v.keptIDs()...)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// logApplied says at Info what a change was, and nothing when there was none.
func (l *LB) logApplied(p *Plan, out Outcome, took time.Duration, before generation) {
	if !out.Changed && !out.Reloaded {
		return
	}
	attrs := []any{"rev", p.Rev, "generation", l.running.N, "took_ms", took.Milliseconds()}
	for _, u := range l.upstreams {
		if set, ok := p.Sets[u.Name]; ok {
			if d := difference(u.history.newest(), set); d != "" {
				attrs = append(attrs, slog.Group(u.Name, "change", d, "serving", len(upIDs(set))))
			}
		}
	}
	msg := "applied"
	switch {
	case !out.Running:
		msg = "installed: nginx is not running"
		attrs = append(attrs, "why", out.Why)
	case out.Live:
		attrs = append(attrs, "how", "live")
	case before == l.running:
		msg = "reloaded: nginx did not serve what is on disk"
	}
	l.log.Info(msg, attrs...)
}

// difference says which servers came, went or changed, like "+web3 -web1 ~web2".
func difference(old map[string]render.Server, set []render.Server) string {
	now := map[string]render.Server{}
	for _, s := range set {
		if !s.Down && s.Weight > 0 {
			now[s.ID] = s
		}
	}
	var words []string
	for _, id := range slices.Sorted(maps.Keys(now)) {
		was, ok := old[id]
		switch {
		case !ok:
			words = append(words, "+"+id)
		case was.Addr != now[id].Addr || was.Weight != now[id].Weight:
			words = append(words, "~"+id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(old)) {
		if _, ok := now[id]; !ok {
			words = append(words, "-"+id)
		}
	}
	const most = 20
	if len(words) > most {
		words = append(words[:most], fmt.Sprintf("and %d more", len(words)-most))
	}
	return fmt.Sprint(words)[1 : len(fmt.Sprint(words))-1]
}
