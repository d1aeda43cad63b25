// Package harness is `lbd test`: it plays cases with templates. A case is a small YAML file with nodes, settings and what
// must come of them; for each template the output that lbd would write is compared with the user's golden file, tested by
// `nginx -t` of one or more real Nginx, and served by it, unchanged, with requests sent through it to sample backends at
// the nodes' own addresses.
//
// It asks lbd itself what it would write (lbd.NewPreview) and renders nothing on its own. It needs no Redis, no Docker and
// no right to anything, and never touches the Nginx that serves this host: all it starts has a folder of its own, and,
// where the kernel allows, a network of its own.
package harness

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/lbd"
)

// Options say what is played.
type Options struct {
	Templates string               // folder; "" for the built-in ones
	Upstreams []lbd.UpstreamConfig // of the user's config; their templates are played too, and they as case `config`
	Cases     fs.FS
	CasesDir  string       // what Cases are called in messages
	Fixture   *lbd.Fixture // one more case, instead of `config`
	Golden    golden
	Only      []string // patterns of cases or of TEMPLATE/CASE; default: all
	Skip      []string
	Nginx     []*Nginx // none: nothing is tested by Nginx
	Engines   []string // default: reload
	Include   []string // files at http level
	Label     string   // beside the version in rows
	Progress  func(done, of int)
}

// runner plays.
type runner struct {
	opt      Options
	network  network
	backends *backends
	dir      string
	folders  int
	report   *Report
	warnings map[string][]string // of Nginx -> where
}

// Play plays all and returns the rows. An error is one of the options or of this host; what fails is in the rows.
func Play(ctx context.Context, opt Options, n network) (*Report, error) {
	plays, err := opt.plays()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "lbd-test-")
	if err != nil {
		return nil, err
	}
	r := &runner{opt: opt, network: n, backends: newBackends(n), dir: dir, report: &Report{Network: n.name}, warnings: map[string][]string{}}
	defer func() { _ = errors.Join(r.backends.Close(), os.RemoveAll(dir)) }() // what is left is in the folder for such
	if n.why != "" {
		r.note(n.why)
	}
	with := opt.Nginx
	if len(with) == 0 {
		with = []*Nginx{nil}
	}
	stateDir := filepath.Join(dir, "state")
	if slices.Contains(opt.Engines, engineLua) {
		// lbd makes this folder; Nginx binds the socket in it.
		if err := os.MkdirAll(filepath.Join(stateDir, "live"), 0o700); err != nil {
			return nil, err
		}
		for _, nginx := range opt.Nginx {
			if nginx.findLua(ctx, r.folder()); nginx.noLua != nil {
				r.note(fmt.Sprintf("nginx %s has no Lua, so engine lua is not played with it: %v", nginx.Version, nginx.noLua))
			}
		}
	}
	for i, p := range plays {
		p.prepare(opt.Templates, stateDir)
		if err := r.compare(p); err != nil {
			return nil, err
		}
		for j, nginx := range with {
			if p.engine == engineLua && nginx != nil && nginx.noLua != nil {
				continue
			}
			if opt.Progress != nil {
				opt.Progress(i*len(with)+j, len(plays)*len(with))
			}
			began := time.Now()
			rows := p.run(ctx, r, nginx)
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			for k := range rows {
				rows[k].Nginx = opt.called(nginx)
				rows[k].Seconds = time.Since(began).Seconds() / float64(len(rows))
			}
			r.report.Results = append(r.report.Results, rows...)
		}
	}
	r.notes(plays)
	r.report.finish()
	return r.report, nil
}

// called is what the column says of an Nginx.
func (o *Options) called(n *Nginx) string {
	name := "none"
	if n != nil {
		name = n.Version
	}
	if o.Label != "" {
		name += " (" + o.Label + ")"
	}
	return name
}

// plays are all plays that are asked for: template by template.
func (o *Options) plays() ([]*play, error) {
	list, err := subjects(o.Templates, o.Upstreams)
	if err != nil {
		return nil, err
	}
	cases, err := ReadCases(o.Cases, o.CasesDir)
	if err != nil {
		return nil, &cli.Error{Code: cli.Usage, Err: err}
	}
	var plays []*play
	for _, s := range list {
		for _, c := range cases {
			if c.isFor(s.template) {
				plays = append(plays, ofCase(c, s))
			}
		}
	}
	switch {
	case o.Fixture != nil:
		more := ofConfig("fixture", o.Upstreams, list, *o.Fixture)
		for _, p := range more {
			p.foreign = true
		}
		plays = append(plays, more...)
	case len(o.Upstreams) > 0:
		nodes, err := madeFor(o.Upstreams)
		if err != nil {
			return nil, err
		}
		plays = append(plays, ofConfig("config", o.Upstreams, nil, nodes)...)
	}
	plays = o.byEngine(plays)
	plays = slices.DeleteFunc(plays, func(p *play) bool {
		asked := func(globs []string) bool {
			return slices.ContainsFunc(globs, func(g string) bool { return match(g, p.name) || match(g, p.template+"/"+p.name) })
		}
		return len(o.Only) > 0 && !asked(o.Only) || asked(o.Skip)
	})
	if len(plays) == 0 {
		return nil, cli.Usagef("nothing is left to play: --only and --skip are patterns of cases (%s) or of TEMPLATE/CASE", o.CasesDir)
	}
	return plays, nil
}

// byEngine are the plays with each engine.
func (o *Options) byEngine(plays []*play) (all []*play) {
	for _, p := range plays {
		for _, engine := range append(o.Engines, engineReload)[:max(len(o.Engines), 1)] {
			with := *p
			with.engine = engine
			all = append(all, &with)
		}
	}
	return all
}

// compare holds the outputs of a play against its golden files: those of cases, and of a fixture if there is one.
func (r *runner) compare(p *play) error {
	text := p.only()
	if text == nil || p.engine != engineReload {
		return nil
	}
	if r.opt.Golden.shipped && (p.made.Templates.Source(p.template) != builtIn || p.upstreams[0].Name != defaultName) {
		return nil
	}
	verdict, faults, err := r.opt.Golden.compare(p.template, p.name, text)
	if err != nil {
		return err
	}
	if p.derived && verdict == goldenMissing {
		return nil
	}
	p.verdict = verdict
	if faults != "" {
		p.faults = append(p.faults, faults)
	}
	return nil
}

// folder is a new one for one Nginx.
func (r *runner) folder() string {
	r.folders++
	return filepath.Join(r.dir, strconv.Itoa(r.folders))
}
