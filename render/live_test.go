package render_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/render"
)

const liveText = "balancer_by_lua_block {\n    go()\n}"

func liveUpstream(t *testing.T, template string) render.View {
	u := upstream(t, "round_robin")
	u.Template = template
	u.Live = func(v *render.View) { v.Live = liveText }
	return view(t, u, nodes(3), "lb1")
}

// The built-in template leaves room for a live engine, whose directives no template could write.
func TestLiveView(t *testing.T) {
	out, err := load(t, "", nil).Render(liveUpstream(t, "upstream.conf.tmpl"))
	if err != nil || strings.Count(string(out), liveText) != 1 {
		t.Fatalf("%s\n%v", out, err)
	}
	if live, keepalive := strings.Index(string(out), liveText), strings.Index(string(out), "keepalive 32;"); live > keepalive {
		t.Errorf("the balancer stands behind keepalive:\n%s", out)
	}
}

// A template that the live engine can't follow is told apart from one that is broken.
func TestNotLive(t *testing.T) {
	for name, c := range map[string]struct{ template, why string }{
		"no .Live":        {good, "it has no {{.Live}}"},
		"a weight":        {"upstream {{.Name}} { {{range .Servers}}server {{.Addr}} weight=7;{{end}} {{.Live}} }", "it writes server lines of its own"},
		"params left out": {"upstream {{.Name}} { {{range .Servers}}server {{.Addr}} backup;{{end}} server 127.0.0.1:9 down; {{.Live}} }", "it writes server lines of its own"},
		"twice":           {"upstream {{.Name}} { {{range .Servers}}server {{.Addr}}{{.Params}};{{end}} {{.Live}} {{.Live}} }", ""},
	} {
		_, err := folder(t, map[string]string{"t.tmpl": c.template}).Render(liveUpstream(t, "t.tmpl"))
		not := new(render.NotLive)
		if errors.As(err, &not) != (c.why != "") || not.Why != c.why || err == nil {
			t.Errorf("%s: %v, want %q", name, err, c.why)
		}
	}
}
