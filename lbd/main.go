package lbd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/conf"
)

const usage = `lbd keeps the upstreams of one Nginx in step with the node pool in Redis.

Usage:
  lbd [run]                 keep Nginx in step (the default)
  lbd once                  look, apply, exit: 0 done, 1 failed, 5 the guard keeps servers
  lbd check                 config, templates, resolvers, a render and nginx -t; changes nothing
  lbd render                print what would be written; changes nothing
      --fixture FILE        … for the nodes of a YAML or JSON file (the fields of /status "nodes") instead of the pool
      --diff                … as a diff against the files there are: 0 same, 1 differs, 2 trouble
  lbd resolve NODE…         what each resolver says of a node, which one wins, and how long it took; changes nothing
      -o table|json         0 all were found, 1 not
  lbd doctor                look at this host and say what will hurt, with the fix; changes nothing
      -o table|json         0 nothing hurts, 1 something does; warnings alone are 0
  lbd approve [HASH]        what the guard holds may go; with HASH only if that is what is held
  lbd rollback [N]          pin a kept generation: the one before what is served, or N
      --list                … show those that are kept
      --diff                … how it differs from what is on disk; changes nothing
      --end                 … pin none any more
  lbd version

Examples:
  lbd --redis-url redis://10.0.0.5:6379 --upstream-file /etc/nginx/conf.d/upstream.conf
  lbd check --config /etc/lbd/lbd.yaml
`

// takes says which commands take a word of their own.
var takes = map[string]bool{"resolve": true, "approve": true, "rollback": true}

// command is what the words on the command line ask for.
type command struct {
	fixture string
	diff    bool
	list    bool
	end     bool
	output  string
}

// Main is the lbd binary. A program that adds resolvers of its own calls it with their kinds.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, kinds ...Kind) int {
	return Program{Kinds: kinds}.Main(ctx, args, stdin, stdout, stderr)
}

// Main runs the program with the arguments and returns its exit code.
func (p Program) Main(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	var cmd command
	var runs map[string]Run
	bind := func(fs *pflag.FlagSet, cfg *Config) {
		flags(fs, cfg)
		runs = p.bind(fs)
		fs.StringVar(&cmd.fixture, "fixture", "", "render: a `file` with nodes")
		fs.BoolVar(&cmd.diff, "diff", false, "render, rollback: show a diff")
		fs.BoolVar(&cmd.list, "list", false, "rollback: show what is kept")
		fs.BoolVar(&cmd.end, "end", false, "rollback: pin none any more")
		fs.StringVarP(&cmd.output, "output", "o", "table", "resolve and doctor: the `form`, table or json")
	}
	cfg, common, fs, err := cli.ParseFlags("lbd", args, DefaultConfig, bind)
	if err != nil {
		return cli.Report(stderr, "lbd", err)
	}
	word := "run"
	if fs.NArg() > 0 {
		word = fs.Arg(0)
	}
	called, err := p.called(word, fs)
	switch {
	case err != nil:
		return cli.Report(stderr, "lbd", err)
	case called != nil && common.Help:
		called.help(stdout)
		return cli.Done
	case called != nil:
		if file := called.fallback(common, stderr); file != "" {
			cfg, common, fs, err = cli.ParseFlags("lbd", slices.Concat([]string{"--config", file}, args), DefaultConfig, bind)
			if err != nil {
				return cli.Report(stderr, "lbd", err)
			}
		}
		if fs.NArg() > 1 {
			return cli.Report(stderr, "lbd", cli.Usagef("%q is one word too many (see lbd %s --help)", fs.Arg(1), word))
		}
		return runs[word](ctx, Call{Config: cfg, ConfigFile: common.Config, Fixture: cmd.fixture, Output: cmd.output,
			Args: args, Stdout: stdout, Stderr: stderr})
	}
	switch {
	case common.Help || word == "help":
		cli.PrintUsage(stdout, p.usage(), fs)
		return cli.Done
	case common.Version || word == "version":
		fmt.Fprintln(stdout, "lbd", cli.Version())
		return cli.Done
	case word == "resolve" && fs.NArg() < 2:
		return cli.Report(stderr, "lbd", cli.Usagef("lbd resolve needs at least one node"))
	case cmd.output != "table" && (word != "resolve" && word != "doctor" || cmd.output != "json"):
		return cli.Report(stderr, "lbd", cli.Usagef("-o is for lbd resolve and lbd doctor, and table or json"))
	case fs.NArg() > 1 && !takes[word], fs.NArg() > 2 && word != "resolve":
		return cli.Report(stderr, "lbd", cli.Usagef("%q is one word too many (see lbd --help)", fs.Arg(fs.NArg()-1)))
	case word != "render" && cmd.fixture != "", word != "render" && word != "rollback" && cmd.diff:
		return cli.Report(stderr, "lbd", cli.Usagef("--fixture belongs to lbd render, --diff to that and to lbd rollback"))
	case word != "rollback" && (cmd.list || cmd.end):
		return cli.Report(stderr, "lbd", cli.Usagef("--list and --end belong to lbd rollback"))
	}
	log, err := cli.Logger(stderr, common.LogFormat, common.LogLevel)
	if err != nil {
		return cli.Report(stderr, "lbd", err)
	}
	make := func(cfg Config) (*LB, error) {
		l, err := New(cfg, log, p.Kinds...)
		if errors.As(err, new(inFile)) {
			err = conf.InFile(common.Config, err)
		}
		if err != nil {
			return nil, &cli.Error{Code: cli.Usage, Err: err}
		}
		return l, nil
	}
	switch word {
	case "run":
		reread := func() (Config, error) {
			cfg, _, _, err := cli.ParseFlags("lbd", args, DefaultConfig, bind)
			return cfg, err
		}
		return cli.Report(stderr, "lbd", run(ctx, cfg, log, make, reread))
	case "approve", "rollback":
		if err := cfg.complete(); err != nil {
			return cli.Report(stderr, "lbd", &cli.Error{Code: cli.Usage, Err: err})
		}
		if word == "approve" {
			return cli.Report(stderr, "lbd", approve(ctx, &cfg, fs.Arg(1), stdout))
		}
		return cli.Report(stderr, "lbd", rollback(ctx, &cfg, cmd, fs.Arg(1), make, stdout))
	case "once", "check", "render", "resolve", "doctor":
		l, err := make(cfg)
		if err != nil {
			return cli.Report(stderr, "lbd", err)
		}
		defer l.Close()
		switch word {
		case "once":
			return cli.Report(stderr, "lbd", once(ctx, l, stdout))
		case "check":
			return cli.Report(stderr, "lbd", check(ctx, l, stdout))
		case "doctor":
			return cli.Report(stderr, "lbd", examine(ctx, l, cmd.output, stdout))
		case "resolve":
			return cli.Report(stderr, "lbd", resolve(ctx, l, fs.Args()[1:], cmd.output, stdout, stderr))
		}
		return printRendered(ctx, l, cmd, stdout, stderr)
	}
	return cli.Report(stderr, "lbd", cli.Usagef("%q is not a command (see lbd --help)", word))
}

// run runs LBs one after another: SIGHUP makes a new one from the config as it is then, if that can be used.
func run(ctx context.Context, cfg Config, log *slog.Logger, make func(Config) (*LB, error), reread func() (Config, error)) error {
	hup := notify(syscall.SIGHUP)
	defer signal.Stop(hup)
	manager := cli.NewNotifier(log)
	stopping := context.AfterFunc(ctx, manager.Stopping)
	defer stopping()
	l, err := make(cfg)
	for err == nil {
		l.notify = manager
		if terr := l.TemplateError(); terr != nil {
			log.Error("a template can't be read", "error", terr)
		}
		var next *LB
		if next, err = runUntilHUP(ctx, l, log, hup, func() (*LB, error) {
			cfg, err := reread()
			if err != nil {
				return nil, err
			}
			n, err := make(cfg)
			if err != nil {
				return nil, err
			}
			if err := n.canFollow(l); err != nil {
				return nil, errors.Join(err, n.Close())
			}
			return n, nil
		}); err != nil || next == nil {
			return err
		}
		l = next
	}
	return err
}

// canFollow reports whether l can take the place of old: its templates can be read, and what it needs for itself alone
// can be had.
func (l *LB) canFollow(old *LB) error {
	if err := l.TemplateError(); err != nil {
		return err
	}
	l.proven = old.proven // to fall back on: Nginx has not seen those of the folder yet
	if l.cfg.Status.Listen != old.cfg.Status.Listen {
		ln, err := listen(l.cfg.Status.Listen)
		if err != nil {
			return err
		}
		if ln != nil {
			_ = ln.Close() // it was only tried
		}
	}
	if l.cfg.StateDir != old.cfg.StateDir {
		unlock, err := lock(l.cfg.StateDir)
		if err != nil {
			return err
		}
		unlock()
	}
	unlock, err := lockOutputs(slices.DeleteFunc(slices.Clone(l.cfg.Upstreams), func(u UpstreamConfig) bool {
		return slices.ContainsFunc(old.cfg.Upstreams, func(o UpstreamConfig) bool { return outputLock(o.Output) == outputLock(u.Output) })
	}))
	if err != nil {
		return err
	}
	unlock()
	return nil
}

// runUntilHUP runs l until ctx ends (next is nil then), it fails, or a SIGHUP brought a config that can be used.
func runUntilHUP(ctx context.Context, l *LB, log *slog.Logger, hup <-chan os.Signal, remake func() (*LB, error)) (next *LB, err error) {
	defer l.Close()
	inner, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- l.Run(inner) }()
	for {
		select {
		case err := <-ended:
			return nil, err
		case <-hup:
			l.notify.Reloading()
			next, err := remake()
			if err != nil {
				log.Error("SIGHUP: the new config can't be used, all stays as it was", "error", err)
				l.notify.Ready()
				continue
			}
			log.Info("SIGHUP: config and templates were read again")
			stop()
			return next, <-ended
		}
	}
}

func notify(s ...os.Signal) chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, s...)
	return c
}
