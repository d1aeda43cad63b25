package lbd

import (
	"context"
	"fmt"
	"strings"

	"github.com/bazbeans/bazbeans/lbd/live/lua"
)

// checkLive says how changes would go in, and why not live where that is wanted.
func (d *doctor) checkLive(context.Context) {
	c := &d.l.chosen
	switch {
	case d.site == nil: // nothing can be tried
		return
	case d.l.cfg.Nginx.Apply == "reload":
		d.ok("live-engine", "changes go in by reloads, as nginx.apply says")
		return
	case c.kind == nil:
		f := finding{Code: "live-engine", Level: levelNote, What: "changes go in by reloads: " + c.why, Means: "nginx.apply is auto, and this Nginx has no live engine that goes with it."}
		if d.l.wantedLive() != nil {
			f.Level, f.Means = levelWarning, "nginx.apply is live. All works, at the price of a reload for each change."
			f.Where, f.Fix = inConfig, "nginx:\n  apply: reload"
			switch {
			case strings.Contains(c.why, `unknown directive "lua_`):
				f.Where, f.Fix = inShell, "apt-get install libnginx-mod-http-lua\n# or, in lbd's config, nginx: {apply: reload}"
			case strings.Contains(c.why, errOtherLua.Error()):
				f.Where, f.Fix = "in each log_by_lua of yours", fmt.Sprintf("local live = package.loaded[%q]; if live then live.done() end", lua.Global)
			}
		}
		d.add(f)
		return
	}
	d.ok("live-engine", "changes go in live: %s", c.String())
	for _, u := range d.l.upstreams {
		if u.byReload == "" {
			continue
		}
		f := finding{Code: "live-template", Level: levelNote, What: fmt.Sprintf("upstream %s changes by reloads: %s", u.Name, u.byReload),
			Means: "The other upstreams change live. docs/live.md says what a template needs."}
		if c.refused[u.Name] != nil {
			f.Level = levelWarning
		}
		d.add(f)
	}
}
