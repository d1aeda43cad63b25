package harness

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/lbd"
	"github.com/bazbeans/bazbeans/ngxconf"
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

// run plays it with one Nginx and returns what became of it, an entry for each upstream.
func (p *play) run(ctx context.Context, r *runner, n *Nginx) []Result {
	results := make([]Result, len(p.upstreams))
	for i := range results {
		results[i] = Result{Template: p.upstreams[i].Template, Case: p.name, Engine: p.engine}
		if len(results) > 1 {
			results[i].Case += ": " + p.upstreams[i].Name
		}
		results[i].Faults, results[i].Golden = slices.Clone(p.faults), p.verdict
	}
	all := func(fault string) []Result {
		for i := range results {
			results[i].fail(fault)
		}
		return results
	}
	if len(results) == 0 { // a case whose settings are refused
		results = []Result{{Template: p.template, Case: p.name, Engine: p.engine, Faults: slices.Clone(p.faults)}}
	}
	refused := p.wants[0].Refused
	switch said := p.said(); {
	case refused != "" && (said == nil || !strings.Contains(said.Error(), refused)):
		all(fmt.Sprintf("lbd refuses %s, want a refusal with %q", orNothing(said), refused))
		if !p.whole() {
			return results
		}
	case refused != "" && !p.whole():
		for i := range results {
			results[i].Went = "refused, as wanted"
		}
		return results
	case said != nil && refused == "" && p.whole() && p.foreign:
		r.note("fixture: " + said.Error())
	case said != nil && refused == "" && p.whole():
		all("lbd refuses " + said.Error())
	case said != nil && refused == "":
		return p.refusedBy(ctx, r, n, results)
	}
	for i := range results {
		if why := p.made.ByReload[p.upstreams[i].Name]; why != "" {
			r.note(fmt.Sprintf("%s with engine %s: %s: servers change by reloads", p.upstreams[i].Template, p.engine, why))
		}
		if p.engine == engineReload {
			p.texts(i, &results[i])
		}
	}
	if n == nil {
		return results
	}
	if err := p.traffic(ctx, r, n, results); err != nil {
		return all(err.Error())
	}
	return results
}

func orNothing(err error) string {
	if err == nil {
		return "nothing"
	}
	return err.Error()
}

// texts looks for what the output must and must not contain.
func (p *play) texts(i int, r *Result) {
	text := string(p.text(i))
	for _, s := range p.wants[i].Contains {
		if !strings.Contains(text, s) {
			r.fail(fmt.Sprintf("the output lacks %q:\n%s", s, numbered(text)))
		}
	}
	for _, s := range p.wants[i].Lacks {
		if at := strings.Index(text, s); at >= 0 {
			r.fail(fmt.Sprintf("line %d of the output has %q:\n%s", 1+strings.Count(text[:at], "\n"), s, numbered(text)))
		}
	}
}

func numbered(text string) string {
	var b strings.Builder
	lines := linesOf(text)
	const most = 40
	for i, line := range lines {
		if i == most {
			fmt.Fprintf(&b, "  … %d more lines\n", len(lines)-most)
			break
		}
		fmt.Fprintf(&b, "  %3d | %s\n", i+1, line)
	}
	return strings.TrimRight(b.String(), "\n")
}

// refusedBy reports what lbd refuses, and what Nginx says of the same text.
func (p *play) refusedBy(ctx context.Context, r *runner, n *Nginx, results []Result) []Result {
	for i := range results {
		if p.err != nil || i >= len(p.upstreams) {
			results[i].fail("lbd refuses " + p.said().Error())
			continue
		}
		u, why := p.upstreams[i], ""
		for _, err := range p.made.Errors {
			if strings.Contains(err.Error(), "upstream "+u.Name+":") {
				why = err.Error()
			}
		}
		if why == "" {
			results[i].fail("not played: another upstream of the config is refused")
			continue
		}
		results[i].Went = "refused by lbd"
		view, ok := p.made.Views[u.Name]
		f := newFault(p.made.Templates, view, u, ok)
		f.byLBD(why)
		switch {
		case n == nil:
			f.byNginx(nil, "not asked (--nginx none)", 0)
		case !ok || lineIn(why, f.template) > 0:
			f.byNginx(nil, "not asked: there is no whole text", 0)
		case p.foreign:
			f.byNginx(nil, "not asked: what lbd refuses is not given to Nginx with nodes of a fixture", 0)
		default:
			said, line := r.ask(ctx, n, p.engine, u.Name, f.trace.Text)
			f.byNginx(n, said, line)
		}
		results[i].fail(f.String())
	}
	return results
}

// ask returns what Nginx says of a text, and the line of it that it names.
func (r *runner) ask(ctx context.Context, n *Nginx, engine, upstream string, text []byte) (said string, line int) {
	s := &site{nginx: n, dir: r.folder(), modules: n.modules(engine), include: r.opt.Include, outputs: []output{{"upstream.conf", text}},
		routes: []route{{"127.0.0.1:9", upstream}}}
	_, err := s.test(ctx)
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		return refused.said, refused.line
	case err != nil:
		return err.Error(), 0
	}
	return "has nothing against it", 0
}

// traffic has Nginx test the outputs and sends requests through it.
func (p *play) traffic(ctx context.Context, r *runner, n *Nginx, results []Result) error {
	s := &site{nginx: n, dir: r.folder(), modules: n.modules(p.engine), include: r.opt.Include}
	for i, u := range p.upstreams {
		port, err := servers.FreePort()
		if err != nil {
			return err
		}
		s.routes = append(s.routes, route{servers.Loopback(port), u.Name})
		s.outputs = append(s.outputs, output{fmt.Sprintf("output%d.conf", i+1), p.text(i)})
	}
	warnings, err := s.test(ctx)
	var refused *refusal
	if errors.As(err, &refused) {
		for i := range results {
			results[i].Went = "refused by Nginx"
		}
		return p.refusedByNginx(n, s, refused)
	} else if err != nil {
		return err
	}
	for _, w := range warnings {
		r.warn(n, w, p)
	}
	scene := p.scene()
	moved, err := r.backends.prepare(scene)
	if err != nil {
		return err
	}
	if len(moved) > 0 && p.engine != engineReload {
		for i := range results {
			results[i].Went = "not sent: Lua needs nodes at their own addresses"
		}
		return nil
	}
	for i := range s.outputs {
		s.outputs[i].text = move(s.outputs[i].text, moved)
	}
	if len(moved) > 0 {
		if _, err := s.test(ctx); err != nil {
			return fmt.Errorf("with addresses of this host in place of the nodes': %w", err)
		}
	}
	running, err := s.start(ctx)
	if err != nil {
		return fmt.Errorf("nginx %s passed its test but does not start: %w", n.Version, err)
	}
	for i := range p.upstreams {
		if !p.whole() {
			break
		}
		want := p.want(i)
		sending := p.send
		if sending.Requests == 0 {
			sending.Requests = p.enough(i)
		}
		got := send(ctx, "http://"+s.routes[i].listen, sending, scene)
		results[i].Requests, results[i].Went = got.requests+sending.Together, summary(got)
		results[i].Nodes = got.went
		for _, fault := range want.unmet(got) {
			results[i].fail(fault)
		}
	}
	if err := running.Stop(); err != nil {
		return err
	}
	return ctx.Err()
}

// refusedByNginx reports the output that Nginx names.
func (p *play) refusedByNginx(n *Nginx, s *site, refused *refusal) error {
	i := slices.IndexFunc(s.outputs, func(o output) bool { return o.name == refused.file })
	line := refused.line
	if i < 0 {
		i, line = 0, 0
	}
	u := p.upstreams[i]
	f := newFault(p.made.Templates, p.made.Views[u.Name], u, true)
	// What a live engine needs beside the template's output stands above that, behind the first line.
	if above := bytes.Count(s.outputs[i].text, []byte("\n")) - len(f.trace.Lines); line > above+1 {
		line -= above
	}
	f.byNginx(n, strings.ReplaceAll(refused.said, s.outputs[i].name, filepath.Base(u.Output)), line)
	return errors.New(f.String())
}

// move replaces addresses in a text, wherever they are words of the configuration.
func move(text []byte, moved map[netip.AddrPort]netip.AddrPort) []byte {
	if len(moved) == 0 {
		return text
	}
	var out []byte
	done := 0
	for lexer := ngxconf.NewLexer(text); ; {
		t, err := lexer.Next()
		if err != nil { // the end; the text was read before
			break
		}
		if t.Kind != ngxconf.Word {
			continue
		}
		if at, err := netip.ParseAddrPort(t.Text); err == nil {
			if to, ok := moved[at]; ok {
				out = append(append(out, text[done:t.Start]...), to.String()...)
				done = t.End
			}
		}
	}
	return append(out, text[done:]...)
}
