package lbd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/render"
)

// choice is how plans go into Nginx, and why so.
type choice struct {
	kind  liveKind    // nil: by reloads
	why   string      // why not otherwise, for people
	retry backoff     // when to see whether a live engine can be had after all
	since time.Time   // when kind was taken
	tried *render.Set // the templates folder as it was then
	seat  string      // the upstream whose output has the kind's common part, in the plan that is being made
	// refused are upstreams whose output Nginx takes by reloads and not live, and what it said.
	refused map[string]error
	broken  error // what kept the engines from being tried, for a command
}

// liveRetry spaces the tries to go live again.
var liveRetry = backoff{first: time.Minute, most: 10 * time.Minute}

// name is what people call it.
func (c *choice) name() string {
	if c.kind == nil {
		return "reload"
	}
	return c.kind.name()
}

// answers reports whether lbd answers what Nginx asks.
func (c *choice) answers() bool { return c.name() == "resolve" }

func (c *choice) String() string {
	if c.why == "" {
		return c.name()
	}
	return c.name() + " (" + c.why + ")"
}

// choose finds out by which engine this Nginx can be served, as far as the config leaves that open, and takes it; serve
// says whether to, or only to plan so, as a command does that may run beside an lbd at work.
func (l *LB) choose(ctx context.Context, serve bool) {
	if l.cfg.Nginx.Apply == "reload" || l.nginx == nil {
		l.chosen.why = byConfig
		return
	}
	if !serve {
		l.beside = l.lookBeside(ctx)
	}
	names := []string{l.cfg.Nginx.Live}
	var whys []string
	switch {
	case l.cfg.Nginx.Live != "auto":
	case l.cfg.Nginx.Apply == "auto":
		// With resolve an Nginx that is started without lbd has nobody to send to: nobody shall get that unasked.
		names = []string{"lua"}
	default:
		names = []string{"lua", "resolve"}
	}
	tried := false
	for _, name := range names {
		kind, err := l.makeKind(ctx, name)
		switch {
		case err == nil && serve:
			err = kind.start()
		case err == nil:
			err = l.vacant(kind)
		}
		var refused map[string]error
		if err == nil {
			tried = true
			refused, err = l.try(ctx, kind, serve)
		}
		if err == nil {
			l.take(kind, strings.Join(whys, "; "), serve)
			l.refuse(refused, serve)
			return
		}
		if kind != nil {
			kind.close()
		}
		if ctx.Err() != nil {
			return
		}
		if name == "lua" && strings.Contains(err.Error(), `unknown directive "lua_`) {
			err = fmt.Errorf("%w (%s)", errNoLua, bare(err))
		}
		whys = append(whys, fmt.Sprintf("not %s: %v", name, err))
	}
	var broken error
	if tried && !serve {
		broken = l.broken(ctx)
	}
	l.take(nil, strings.Join(whys, "; "), serve)
	l.chosen.broken = broken
}

// take goes over to an engine; say says whether to log it.
func (l *LB) take(kind liveKind, why string, say bool) {
	former := l.chosen
	l.chosen = choice{kind: kind, why: why, retry: former.retry, since: time.Now(), tried: l.templates}
	if kind == nil {
		if former.kind != nil && time.Since(former.since) > former.retry.first {
			l.chosen.retry.reset() // it worked: what fails now is not what keeps failing
		}
		l.agenda.at(l.chosen.retry.failed(time.Now(), ""))
	}
	if former.kind == nil && kind == nil && former.why == why {
		return
	}
	if err := l.engine.Close(); err != nil { // which has said so, and the files are about to be written anew
		l.log.Debug("close the former engine", "error", err)
	}
	if former.kind != nil {
		l.serving = false // nobody counts any more, until a reload is proven
		former.kind.giveBack()
		former.kind.close()
	}
	if l.engine = Engine(reloads{l.nginx}); kind != nil {
		l.engine = newLiveEngine(l.nginx, kind, &l.cfg, l.log)
	}
	if !say {
		return
	}
	attrs := []any{"apply", l.chosen.name()}
	if why != "" {
		attrs = append(attrs, "why", why)
	}
	if kind == nil {
		attrs = append(attrs, "next_try", l.chosen.retry.next.UTC().Format(time.RFC3339))
	}
	if kind == nil && l.cfg.Nginx.Apply == "live" {
		l.log.Error("peers can't be changed live: every change is a reload", append(attrs, "fix", "mend what why says; SIGHUP (systemctl reload lbd) tries at once")...)
		return
	}
	l.log.Info("chose how changes go into nginx", attrs...)
}

// arrive waits until Nginx goes by what was applied, for a run of lbd that ends then: with names it asks lbd.
func (l *LB) arrive(ctx context.Context) error {
	if l.chosen.kind == nil {
		return nil
	}
	for deadline := time.Now().Add(crossTimeout); ; {
		s, err := l.engine.State(ctx)
		if err != nil || s.Live == "" || s.Pending == "" {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("nginx does not go by it yet: %s", s.Pending)
		}
		pause(ctx, reachPoll)
	}
}

// rechoose looks again whether a live engine can be had, or by more upstreams, when that is wanted and due: from time to
// time, and when templates have changed.
func (l *LB) rechoose(ctx context.Context) {
	switch due := !time.Now().Before(l.chosen.retry.next) || l.chosen.tried != l.templates; {
	case l.nginx == nil || l.cfg.Nginx.Apply == "reload" || !due:
	case l.chosen.kind == nil:
		l.choose(ctx, true)
	case len(l.chosen.refused) > 0:
		refused, err := l.try(ctx, l.chosen.kind, true)
		if err != nil {
			refused = l.chosen.refused
		}
		l.refuse(refused, true)
	}
}

// renderLive is the live part of render: it makes the view one of the chosen kind, where the template and the balance
// method allow it.
func (l *LB) renderLive(u *upstream, servers []render.Server, templates *render.Set) (text []byte, ok bool, err error) {
	kind := l.chosen.kind
	if kind == nil {
		u.byReload = ""
		return nil, false, nil
	}
	if err := l.chosen.refused[u.Name]; err != nil {
		u.byReload = err.Error()
		return nil, false, nil
	}
	var unfit error
	view := u.view
	view.Live = func(v *render.View) { unfit = kind.view(v) }
	v, err := render.NewView(view, servers, l.cfg.ID)
	if err != nil {
		return nil, false, err
	}
	if unfit != nil {
		u.byReload = unfit.Error()
		return nil, false, nil
	}
	l.seen(v)
	text, err = templates.Render(v)
	not := new(render.NotLive)
	if errors.As(err, &not) {
		u.byReload = not.Error()
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	u.byReload = ""
	if l.chosen.seat == "" {
		l.chosen.seat = u.Name
	}
	if l.chosen.seat == u.Name {
		text = bytes.Replace(text, []byte(render.Header), []byte(render.Header+kind.common()), 1)
	}
	return text, true, nil
}

// unseat gives the common part to the upstream in whose output it is, when what u renders is not used: used is, or nil for
// what is on the disk.
func (l *LB) unseat(u *upstream, used []byte) {
	kind := l.chosen.kind
	if kind == nil || kind.common() == "" {
		return
	}
	if used == nil {
		used, _ = os.ReadFile(u.Output) // none has none
	}
	switch first, _, _ := strings.Cut(kind.common(), "\n"); {
	case bytes.Contains(used, []byte(first)): // also that of another version of lbd: Nginx takes one alone
		l.chosen.seat = u.Name
	case l.chosen.seat == u.Name:
		l.chosen.seat = ""
	}
}

// plainly makes p one of reloads, because Nginx can't be told of peers, and applies it.
func (l *LB) plainly(ctx context.Context, p *Plan, cause error) (Outcome, error) {
	l.take(nil, cause.Error(), true)
	p.Files, p.plain = nil, true
	for _, u := range l.upstreams {
		set, ok := p.Sets[u.Name]
		if !ok {
			continue
		}
		f, err := l.render(u, set, l.proven)
		if err != nil {
			return Outcome{}, err
		}
		p.Files = append(p.Files, f)
	}
	p.hash = hashOf(p.Files)
	return l.apply(ctx, p)
}
