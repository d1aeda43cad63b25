package harness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// run plays it with one Nginx and returns what became of it, an entry for each upstream.
func (p *play) run(ctx context.Context, r *runner, n *Nginx) []Result {
	results := make([]Result, len(p.upstreams))
	for i := range results {
		results[i] = Result{Template: p.upstreams[i].Template, Case: p.name, Engine: p.engine}
		if len(results) > 1 {
			results[i].Case += ": " + p.upstreams[i].Name
		}
		results[i].Faults, results[i].Golden = slices.Clone(p.faults), p.verdict
		results[i].Rendered = string(p.text(i))
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
