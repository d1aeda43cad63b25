package lbd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/lbd/nginx"
)

// rollback is `lbd rollback`: it pins a kept generation, or ends that. A running lbd does it; without one it is done
// here.
func rollback(ctx context.Context, cfg *Config, cmd command, arg string, make func(Config) (*LB, error), stdout io.Writer) error {
	a := archiveIn(cfg.StateDir)
	file := pinFile(cfg.StateDir)
	pinned, err := file.read()
	if err != nil {
		return err
	}
	all, err := a.list()
	if err != nil && len(all) == 0 {
		return err
	}
	switch {
	case cmd.list:
		return printGenerations(stdout, all, pinned)
	case cmd.end && pinned == nil:
		return errors.New("no generation is pinned: there is nothing to end")
	case cmd.end:
		if err := file.remove(); err != nil {
			return fmt.Errorf("end rollback: %w", err)
		}
		fmt.Fprintf(stdout, "generation %d is pinned no more\n", pinned.Generation)
		return told(ctx, cfg, make, 0, stdout)
	}
	n, err := chosen(all, pinned, arg)
	if err != nil {
		return err
	}
	g, err := a.get(n)
	if err == nil {
		err = errors.Join(g.covers(cfg.Upstreams), g.asks(cfg.Nginx.mayAsk()))
	}
	if err != nil {
		return &cli.Error{Code: cli.Usage, Err: err}
	}
	if cmd.diff {
		engine, err := nginx.New(cfg.nginx(nil))
		if err != nil {
			return &cli.Error{Code: cli.Usage, Err: err}
		}
		var files []nginx.File
		for _, u := range g.Upstreams {
			files = append(files, nginx.File{Path: u.Output, Data: u.Text})
		}
		for _, f := range engine.OnDisk(files) {
			if _, err := printDiff(stdout, f.Path, f.Data, fmt.Sprintf("generation %d", n)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := file.write(&pin{Generation: n, By: invoker(), At: time.Now().UTC()}); err != nil {
		return fmt.Errorf("pin generation %d: %w", n, err)
	}
	fmt.Fprintf(stdout, "generation %d of %s is pinned, until lbd rollback --end\n", n, g.At.Local().Format(time.DateTime))
	return told(ctx, cfg, make, n, stdout)
}

// chosen is the generation that is meant: the one named, or the one before what is served.
func chosen(all []*saved, pinned *pin, arg string) (int64, error) {
	if arg != "" {
		n, err := strconv.ParseInt(arg, 10, 64)
		if err != nil || n < 1 {
			return 0, cli.Usagef("%.40q is not the number of a generation (see lbd rollback --list)", arg)
		}
		return n, nil
	}
	for i, g := range all {
		served := i == 0
		if pinned != nil {
			served = g.N == pinned.Generation
		}
		if served && i+1 < len(all) {
			return all[i+1].N, nil
		}
	}
	return 0, errors.New("no generation before the one that is served is kept (see lbd rollback --list)")
}

// told waits until the pin n (0: none) is what Nginx serves, by the running lbd or by an LB of our own.
func told(ctx context.Context, cfg *Config, make func(Config) (*LB, error), n int64, stdout io.Writer) error {
	if isLocked(cfg.StateDir) {
		if err := untilApplied(ctx, cfg.StateDir, func(m memory) bool { return m.Pinned == n }); err != nil {
			return err
		}
		if m, _, err := readMemory(cfg.StateDir); err == nil && !m.Running {
			fmt.Fprintln(stdout, "installed by the running lbd: nginx is not running")
			return nil
		}
		fmt.Fprintln(stdout, "done: the running lbd has applied it")
		return nil
	}
	if n == 0 {
		fmt.Fprintln(stdout, "lbd is not running: nginx goes on with what it has until it is")
		return nil
	}
	l, err := make(*cfg)
	if err != nil {
		return err
	}
	defer l.Close()
	running, err := l.applyPinned(ctx)
	switch {
	case err != nil:
		return err
	case !running:
		fmt.Fprintln(stdout, "installed: nginx is not running")
	default:
		fmt.Fprintln(stdout, "done: nginx serves it; lbd is not running, and will heed the pin when it is")
	}
	return nil
}

// applyPinned brings the pinned generation into Nginx, without a look at the pool.
func (l *LB) applyPinned(ctx context.Context) (running bool, err error) {
	unlock, err := l.begin(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	l.controls()
	p := &Plan{}
	l.putPin(p)
	if p.Pinned == nil || p.lacking {
		return false, p.problems()
	}
	out, err := l.bring(ctx, p)
	if err == nil {
		err = l.arrive(ctx)
	}
	l.remember(p)
	return out.Running, err
}

func printGenerations(w io.Writer, all []*saved, pinned *pin) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "GENERATION\tVERIFIED\tREV\tSERVERS\t")
	for _, g := range all {
		var sets []string
		for _, u := range g.Upstreams {
			sets = append(sets, fmt.Sprintf("%s %d", u.Name, len(upIDs(u.Servers))))
		}
		note := ""
		if pinned.number() == g.N {
			note = fmt.Sprintf("pinned by %s since %s", cli.Printable(pinned.By, 60), pinned.At.Local().Format(time.DateTime))
		}
		fmt.Fprintf(t, "%d\t%s\t%d\t%s\t%s\n", g.N, g.At.Local().Format(time.DateTime), g.Rev, strings.Join(sets, ", "), note)
	}
	return t.Flush()
}
