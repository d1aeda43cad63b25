package lbd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/lbd/nginx"
)

// once is `lbd once`.
func once(ctx context.Context, l *LB, stdout io.Writer) error {
	changed, guard, err := l.Once(ctx)
	if err != nil {
		return err
	}
	word := "unchanged"
	if changed {
		word = "changed"
	}
	fmt.Fprintln(stdout, word)
	var errs []error
	for name, v := range guard {
		if v.why != "" {
			errs = append(errs, fmt.Errorf("upstream %s: %s", name, v.why))
		}
	}
	if len(errs) > 0 {
		return &cli.Error{Code: cli.Refused, Err: errors.Join(errs...)}
	}
	return nil
}

// check is `lbd check`: it goes on after a failure as far as that makes sense, and prints a line for each thing.
func check(ctx context.Context, l *LB, stdout io.Writer) error {
	var errs []error
	line := func(what string, err error, detail string) bool {
		if err != nil {
			fmt.Fprintf(stdout, "FAIL  %-10s %v\n", what, err)
			errs = append(errs, errors.New(what))
			return false
		}
		fmt.Fprintf(stdout, "ok    %-10s %s\n", what, detail)
		return true
	}
	line("config", nil, fmt.Sprintf("%s, %d upstream(s)", l.cfg.ID, len(l.upstreams)))
	line("templates", l.TemplateError(), fmt.Sprint(l.templates.Names()))
	l.lookBack()
	l.seeListeners(ctx)
	f, err := l.lookPatiently(ctx)
	detail := ""
	if f != nil {
		detail = fmt.Sprintf("%s, rev %d, %d node(s)", l.pool.Where(), f.rev, len(f.nodes))
	}
	if !line("redis", err, detail) {
		// Rendering and Nginx can be tried all the same.
		f = &facts{at: time.Now()}
	} else {
		found := 0
		for i := range f.nodes {
			if f.nodes[i].where.Found() {
				found++
			}
		}
		line("resolvers", f.trouble, fmt.Sprintf("%v, %d address(es) found", l.chain.Names(), found))
	}
	l.choose(ctx, false)
	if l.cfg.Nginx.Apply != "reload" {
		o := l.outlook()
		line("apply", o.err, o.String())
	}
	p := l.plan(f, l.templates, time.Now())
	line("render", errors.Join(p.Errors...), fmt.Sprintf("%d file(s), %d entry(ies) in quarantine", len(p.Files), len(p.Quarantined)))
	for _, u := range l.upstreams {
		if u.byReload != "" {
			fmt.Fprintf(stdout, "      %-10s upstream %s changes by reloads: %s\n", "", u.Name, cli.Printable(u.byReload, 400))
		}
	}
	for _, q := range p.Quarantined {
		fmt.Fprintf(stdout, "      %-10s %s: %s\n", "", cli.Printable(q.ID, 40), cli.Printable(q.Why, 200))
	}
	line("nginx -t", l.apart(p.Files, func(files []nginx.File) error {
		trial := *p
		trial.Files = files
		return l.engine.Test(ctx, &trial)
	}), l.cfg.Nginx.Conf)
	if len(errs) > 0 {
		return fmt.Errorf("%d of the checks failed: %s", len(errs), strings.ReplaceAll(errors.Join(errs...).Error(), "\n", ", "))
	}
	return nil
}

// printRendered is `lbd render`; with --diff its exit codes are those of diff.
func printRendered(ctx context.Context, l *LB, cmd command, stdout, stderr io.Writer) int {
	trouble := func(err error) int {
		code := cli.Report(stderr, "lbd", err)
		if cmd.diff {
			return 2
		}
		return code
	}
	var f *facts
	var err error
	if cmd.fixture != "" {
		var fixture Fixture
		fixture, err = ReadFixture(cmd.fixture)
		f = fixture.facts()
	} else {
		l.lookBack()
		l.seeListeners(ctx)
		f, err = l.lookPatiently(ctx)
	}
	if err != nil {
		return trouble(err)
	}
	l.choose(ctx, false)
	p := l.plan(f, l.templates, time.Now())
	if err := errors.Join(append([]error{l.TemplateError()}, p.Errors...)...); err != nil {
		return trouble(err)
	}
	for name, v := range p.Guard {
		if v.why != "" {
			fmt.Fprintf(stderr, "lbd: held: upstream %s: %s\n", name, v.why)
		}
	}
	for _, q := range p.Quarantined {
		fmt.Fprintf(stderr, "lbd: %s is refused: %s\n", cli.Printable(q.ID, 40), cli.Printable(q.Why, 200))
	}
	if cmd.diff {
		differs := false
		for _, f := range l.onDisk(p.Files) {
			d, err := printDiff(stdout, f.Path, f.Data, "wanted")
			if err != nil {
				return trouble(err)
			}
			differs = differs || d
		}
		if differs {
			return 1
		}
		return 0
	}
	for _, file := range p.Files {
		if len(l.upstreams) > 1 {
			fmt.Fprintf(stdout, "# ==> %s\n", file.Path)
		}
		fmt.Fprintf(stdout, "%s", file.Data)
	}
	return cli.Done
}

// printDiff prints how text, called what, differs from the file at path.
func printDiff(w io.Writer, path string, text []byte, what string) (differs bool, err error) {
	is, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	d := diff.Diff(path, is, fmt.Sprintf("%s (%s)", path, what), text)
	_, err = w.Write(d)
	return d != nil, err
}
