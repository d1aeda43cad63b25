package lbd

import (
	"log/slog"
	"time"

	"github.com/bazbeans/bazbeans/lbd/live/lua"
	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/render"
)

// Preview is what lbd would write for the nodes of a fixture, and what it came from.
type Preview struct {
	*Plan
	Templates *render.Set
	Views     map[string]render.View // by upstream, also of those that could not be rendered
	ByReload  map[string]string      // by upstream, why it can't be live; with nginx.apply: live alone
}

// NewPreview plans what cfg would write for the nodes. Nothing is asked (no Redis, no resolver, no Nginx) and nothing is
// written. An error is one of the config; what is wrong with templates and their output is in the plan. With nginx.apply:
// live and nginx.live: lua the output is one for an Nginx with Lua; else it is one for reloads.
func NewPreview(cfg Config, nodes Fixture) (*Preview, error) {
	cfg.Redis, cfg.Resolvers = pool.Config{}, nil // so that no password is read and no file watched
	l, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer l.Close()
	if cfg.Nginx.Apply == "live" && cfg.Nginx.Live == "lua" {
		l.chosen.kind = &luaKind{options: lua.Options{Socket: luaSocket(cfg.StateDir), Init: true}}
	}
	p := &Preview{Templates: l.templates, Views: map[string]render.View{}, ByReload: map[string]string{}}
	l.viewed = func(v render.View) { p.Views[v.Name] = v }
	p.Plan = l.plan(nodes.facts(), l.templates, time.Now())
	for _, u := range l.upstreams {
		if u.byReload != "" {
			p.ByReload[u.Name] = u.byReload
		}
	}
	return p, nil
}

// seen shows a preview what is rendered.
func (l *LB) seen(v render.View) {
	if l.viewed != nil {
		l.viewed(v)
	}
}
