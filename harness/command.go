package harness

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/pflag"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/lbd"
	"github.com/bazbeans/bazbeans/nginx-test/cases"
)

const usage = `lbd test plays cases with your templates in a real Nginx, beside the one that serves.

For each template and each case: the output that lbd would write, a diff against your golden file, nginx -t, and
requests through that Nginx to sample backends at the nodes' addresses. Exit code: 0 all went as wanted, 1 not,
2 wrong usage, or no Nginx.

Usage:
  lbd test                                         templates and upstreams of /etc/lbd/lbd.yaml, the standard cases
  lbd test --config FILE                           … of another config
  lbd test --templates DIR --cases DIR             all templates of a folder, cases of your own
  lbd test --fixture nodes.yaml                    your node list as one more case (the form of lbd render --fixture)
  lbd test --update                                take today's output over as golden files
  lbd test --only one-node --show                  the rendered text of a case, too
  lbd test --nginx nginx --nginx /opt/nginx/nginx  several versions in one run
  lbd test --write-cases DIR                       put the standard cases there, to begin with

--config, --templates and --nginx-binary are as for all of lbd, -o is table or json. All of it: docs/harness.md.
`

// Command is `lbd test`.
var Command = lbd.Command{
	Name:       "test",
	Short:      "play cases with your templates in a real Nginx: lbd test --help",
	Usage:      usage,
	Bind:       bind,
	ConfigFile: "/etc/lbd/lbd.yaml",
}

// settings are the flags.
type settings struct {
	cases, golden, junit, label, network, write string
	nginx, modules, include, engines            []string
	only, skip, from                            []string
	update, show                                bool
}

func bind(fs *pflag.FlagSet) lbd.Run {
	s := &settings{}
	fs.StringVar(&s.cases, "cases", "", "`folder` with cases (default: the standard ones)")
	fs.StringVar(&s.golden, "golden", "", "`folder` with golden files, TEMPLATE/CASE.conf (default: golden in the cases folder)")
	fs.BoolVar(&s.update, "update", false, "write golden files instead of comparing")
	fs.StringArrayVar(&s.only, "only", nil, "play cases that match this `pattern`, or TEMPLATE/CASE (repeatable)")
	fs.StringArrayVar(&s.skip, "skip", nil, "leave out cases that match this `pattern`, or TEMPLATE/CASE (repeatable)")
	fs.StringArrayVar(&s.nginx, "nginx", nil, "an Nginx `binary`, or none (repeatable; default: the config's)")
	fs.StringSliceVar(&s.modules, "modules", nil, "`modules` that Nginx loads first: paths, or names in its modules folder")
	fs.StringSliceVar(&s.engines, "engine", []string{engineReload}, "how servers change: `reload`, lua (nginx.apply: live), or both")
	fs.StringArrayVar(&s.include, "include", nil, "a `file` with what your templates need at http level: maps, log formats (repeatable)")
	fs.BoolVar(&s.show, "show", false, "print what was rendered, too (with -o json it is among the rest)")
	fs.StringVar(&s.junit, "junit", "", "write JUnit XML to this `file`")
	fs.StringVar(&s.label, "label", "", "a `text` beside the version of Nginx, like the name of an image")
	fs.StringVar(&s.network, "network", networkAuto, "`how` requests arrive at nodes: auto, private (namespace) or loopback")
	fs.StringArrayVar(&s.from, "from", nil, "play nothing: print what another run wrote to this `file` with -o json (repeatable)")
	fs.StringVar(&s.write, "write-cases", "", "play nothing: write the standard cases into this `folder`")
	return func(ctx context.Context, c lbd.Call) int {
		_ = os.Unsetenv("NGINX") // Nginx would take it for the listeners that a former master hands over; it fails for a bad name only
		report, code, err := s.run(ctx, c)
		if err != nil || report == nil {
			return max(code, cli.Report(c.Stderr, "lbd", err))
		}
		if err := s.publish(report, c); err != nil {
			return cli.Report(c.Stderr, "lbd", err)
		}
		if !report.OK {
			return cli.Failed
		}
		return cli.Done
	}
}

// run returns the report, or what a run in a namespace of its own ended with.
func (s *settings) run(ctx context.Context, c lbd.Call) (*Report, int, error) {
	switch {
	case c.Output != "table" && c.Output != "json":
		return nil, 0, cli.Usagef("-o %q is not table or json", c.Output)
	case s.write != "":
		return nil, 0, writeCases(s.write, c.Stdout)
	case len(s.from) > 0:
		r, err := readReports(s.from)
		return r, 0, err
	}
	opt, err := s.options(ctx, c)
	if err != nil {
		return nil, 0, err
	}
	n, ran, code, err := s.enter(ctx, c, len(opt.Nginx) > 0)
	if ran || err != nil {
		return nil, code, err
	}
	r, err := Play(ctx, opt, n)
	return r, 0, err
}

// enter finds the network to play in. With ran the whole run took place elsewhere and ended with code.
func (s *settings) enter(ctx context.Context, c lbd.Call, traffic bool) (n network, ran bool, code int, err error) {
	switch {
	case !traffic:
		return network{name: "none"}, false, 0, nil
	case s.network == networkLoopback:
		return loopback(""), false, 0, nil
	case s.network == networkInside:
		n, err = here()
		return n, false, 0, err
	case s.network != networkAuto && s.network != networkPrivate:
		return n, false, 0, cli.Usagef("--network %q is not one of auto, private, loopback", s.network)
	}
	// A container without a network is as good as a namespace made for this.
	if n, err := here(); err == nil {
		return n, false, 0, nil
	}
	code, err = again(ctx, slices.Concat(c.Args, []string{"--network", networkInside}), c.Stdout, c.Stderr)
	switch {
	case err == nil:
		return n, true, code, nil
	case s.network == networkPrivate:
		return n, false, 0, err
	}
	return loopback(err.Error()), false, 0, nil
}

// options are those of Play.
func (s *settings) options(ctx context.Context, c lbd.Call) (opt Options, err error) {
	opt = Options{Templates: folder(c.Config.Templates), Upstreams: c.Config.Upstreams, Cases: cases.FS, CasesDir: "the standard cases",
		Only: s.only, Skip: s.skip, Include: s.include, Label: s.label}
	if s.cases != "" {
		opt.Cases, opt.CasesDir = os.DirFS(s.cases), s.cases
	}
	for _, e := range s.engines {
		if e != engineReload && e != engineLua {
			return opt, cli.Usagef("--engine %q is not one of reload, lua (what lbd answers by DNS with engine resolve is no matter of templates)", e)
		}
	}
	opt.Engines = s.engines
	if opt.Golden, err = s.goldenFiles(); err != nil {
		return opt, err
	}
	if c.Fixture != "" {
		f, err := lbd.ReadFixture(c.Fixture)
		if err != nil {
			return opt, err
		}
		opt.Fixture = &f
	}
	if cli.IsTerminal(c.Stderr) {
		opt.Progress = func(done, of int) { fmt.Fprintf(c.Stderr, "\r\x1b[K%d of %d", done, of) }
	}
	binaries := s.nginx
	if len(binaries) == 0 {
		binaries = []string{c.Config.Nginx.Binary}
	}
	if slices.Equal(binaries, []string{"none"}) {
		return opt, nil
	}
	for _, b := range binaries {
		n, err := FindNginx(ctx, b, s.modules)
		if err != nil {
			return opt, err
		}
		opt.Nginx = append(opt.Nginx, n)
	}
	return opt, nil
}

// goldenFiles are those that outputs are held against: of a folder, or, for the standard cases, the built-in ones.
func (s *settings) goldenFiles() (golden, error) {
	dir := s.golden
	if dir == "" && s.cases != "" {
		dir = filepath.Join(s.cases, "golden")
	}
	switch {
	case dir != "":
		return golden{files: os.DirFS(dir), dir: dir, update: s.update}, nil
	case s.update:
		return golden{}, cli.Usagef("--update needs a folder to write to: --golden DIR, or --cases DIR")
	}
	files, err := fs.Sub(cases.FS, "golden")
	return golden{files: files, dir: "the standard cases' golden", shipped: true}, err
}
