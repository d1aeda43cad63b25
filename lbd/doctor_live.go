package lbd

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/bazbeans/bazbeans/lbd/live/lua"
	"github.com/bazbeans/bazbeans/step"
)

// checkLive says how changes would go in, and why not live where that is wanted.
func (d *doctor) checkLive(context.Context) {
	c, o := &d.l.chosen, d.l.outlook()
	f := finding{Code: "live-engine", What: "changes go in live: " + o.String()}
	switch o.name {
	case notKnown:
		f.What = "how changes would go in is " + o.String()
	case "reload":
		f.What = "changes go in by reloads: " + o.why + o.rest()
	}
	switch {
	case d.site == nil: // nothing can be tried
		return
	case d.l.cfg.Nginx.Apply == "reload":
		d.ok("live-engine", "changes go in by reloads, as nginx.apply says")
		return
	case c.broken != nil:
		f.Level, f.Means = levelWarning, "Until that is mended nobody knows which engine this Nginx can have. An lbd that is live goes on as it is."
		f.Where, f.Fix = mending(c.broken)
		d.add(f)
		return
	case o.err != nil:
		f.Level, f.Means = levelWarning, "nginx.apply is live. All works, at the price of a reload for each change."
		f.Where, f.Fix = d.liveFix(o)
		if o.name != "reload" {
			f.Means = "nginx.apply is live. The lbd that runs goes on as it is, and once restarted each change is a reload."
		}
		d.add(f)
		return
	case o.name == "reload":
		f.Level, f.Means = levelNote, "nginx.apply is auto, and this Nginx has no live engine that goes with it."
		if o.next != "" {
			f.Means = "The lbd that runs does not go by this config, or by this Nginx as it is now, yet."
		}
		d.add(f)
		return
	default:
		d.ok(f.Code, "%s", f.What)
	}
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

// liveFix is what would make changes live.
func (d *doctor) liveFix(o outlook) (where, fix string) {
	const instead = "# or, in lbd's config, nginx: {apply: reload}"
	switch why := o.err.Error(); {
	case d.l.chosen.kind != nil: // what was in the way is gone
		if d.l.beside.holder == 0 {
			return "in the shell of the host or container that lbd runs in", "pkill -HUP -x lbd"
		}
		return inShell, fmt.Sprintf("kill -HUP %d", d.l.beside.holder)
	case strings.Contains(why, errNoLua.Error()):
		return inShell, "apt-get install libnginx-mod-http-lua\n# Alpine: apk add nginx-mod-http-lua; if it is there: load_module in nginx.conf (docs/live-lua.md)\n" + instead
	case strings.Contains(why, errOtherLua.Error()) && strings.Contains(why, codeCache):
		return "in each place that has it off", codeCache + " on;"
	case strings.Contains(why, errOtherLua.Error()):
		return "in each log_by_lua of yours", fmt.Sprintf("local live = package.loaded[%q]; if live then live.done() end", lua.Global)
	case strings.Contains(why, "address already in use"):
		other := "127.0.0.1:9154"
		if d.l.cfg.Nginx.Names == other {
			other = "127.0.0.1:9155"
		}
		return inConfig, "nginx:\n  names: " + other
	}
	return inConfig, "nginx:\n  apply: reload"
}

var placeIn = regexp.MustCompile(`(/[^\s:]+):(\d+)`)

// mending says where a broken file is, and what to do about it.
func mending(broken error) (where, fix string) {
	where, fix = "in what it names", "# mend it"
	if m := placeIn.FindStringSubmatch(broken.Error()); m != nil {
		where = "in " + m[1] + " at line " + m[2]
	}
	if at := new(step.Error); errors.As(broken, &at) && at.Step == step.Render && at.Hint != "" {
		fix = "# " + at.Hint
	}
	return where, fix
}
