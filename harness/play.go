package harness

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/lbd"
	"github.com/bazbeans/bazbeans/render"
)

// play is one template, or all of a config's upstreams, with the nodes of one case.
type play struct {
	name      string // of the case
	engine    string
	template  string // file name
	upstreams []lbd.UpstreamConfig
	nodes     lbd.Fixture
	refusal   error // of the case's nodes or settings: nothing can be played
	wants     []Want
	send      Send
	dead      []string
	derived   bool // what is wanted follows from what lbd puts in
	foreign   bool // nodes of a --fixture: perhaps not an operator's own words, so what lbd refuses is not given to Nginx

	made    *lbd.Preview
	err     error  // why there is none
	verdict string // of the golden file
	faults  []string
}

// prepare makes the output and looks at all of it that needs no Nginx.
func (p *play) prepare(templates, stateDir string) {
	cfg := lbd.DefaultConfig()
	cfg.ID, cfg.Templates, cfg.Upstreams, cfg.StateDir = "harness", templates, p.upstreams, stateDir
	if p.engine == engineLua {
		cfg.Nginx.Apply, cfg.Nginx.Live = "live", engineLua
	}
	p.err = p.refusal
	if p.err == nil {
		p.made, p.err = lbd.NewPreview(cfg, p.nodes)
	}
}

// said is all that lbd has against the play.
func (p *play) said() error {
	if p.err != nil {
		return p.err
	}
	errs := slices.Clone(p.made.Errors)
	for _, q := range p.made.Quarantined {
		errs = append(errs, fmt.Errorf("%s is refused: %s", cli.Printable(q.ID, 40), cli.Printable(q.Why, 200)))
	}
	return errors.Join(errs...)
}

// text is the output of upstream i; nil when lbd refuses it.
func (p *play) text(i int) []byte {
	if p.err != nil {
		return nil
	}
	for _, f := range p.made.Files {
		if f.Path == filepath.Clean(p.upstreams[i].Output) {
			return f.Data
		}
	}
	return nil
}

// only is the output of a play of one upstream; nil when lbd refuses it.
func (p *play) only() []byte {
	if len(p.upstreams) != 1 {
		return nil
	}
	return p.text(0)
}

// whole reports whether there is an output of every upstream.
func (p *play) whole() bool {
	for i := range p.upstreams {
		if p.text(i) == nil {
			return false
		}
	}
	return len(p.upstreams) > 0
}

// want is what must come of upstream i.
func (p *play) want(i int) Want {
	if !p.derived {
		return p.wants[i]
	}
	w := Want{}.settle(p.ids(i))
	if b := p.made.Views[p.upstreams[i].Name].Balance; len(w.Traffic.nodes) > 0 && (b == "ip_hash" || strings.HasPrefix(b, "hash") || strings.HasPrefix(b, "random")) {
		w.Traffic.form = trafficOnly // chance decides who gets something
	}
	return w
}

// ids are the nodes that lbd would send to, or the fallbacks where there are none.
func (p *play) ids(i int) (ids []string) {
	u := &p.upstreams[i]
	for _, s := range p.made.Sets[u.Name] {
		if !s.Down && s.Weight > 0 {
			ids = append(ids, s.ID)
		}
	}
	if len(ids) == 0 {
		return slices.Clone(u.Fallback)
	}
	return ids
}

// scene is what the backends have to be for the play.
func (p *play) scene() *scene {
	s := &scene{names: map[netip.AddrPort]string{}, dead: map[string]bool{}}
	for i := range p.upstreams {
		v := p.made.Views[p.upstreams[i].Name]
		for _, line := range v.Servers {
			if at, err := netip.ParseAddrPort(line.Addr); err == nil && line.Addr != render.Placeholder {
				s.names[at] = cmp.Or(line.ID, line.Addr)
			}
		}
	}
	for _, name := range p.dead {
		s.dead[name] = true
	}
	return s
}

// enough is how many requests show where the traffic of upstream i goes.
func (p *play) enough(i int) int {
	sum, least, n := 0, 0, 0
	for _, s := range p.made.Sets[p.upstreams[i].Name] {
		if !s.Down && s.Weight > 0 {
			sum, n = sum+s.Weight, n+1
			if least == 0 || s.Weight < least {
				least = s.Weight
			}
		}
	}
	each := 20 // for three nodes and the shares of theirs
	if n > 20 {
		each = 2
	}
	if n == 0 {
		return 20
	}
	return min(max(20, each*(sum+least-1)/least), 5000)
}
