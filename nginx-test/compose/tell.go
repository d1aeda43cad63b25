package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bazbeans/bazbeans/harness"
)

// engines are how changes go into Nginx, as lbd calls it.
var engines = []string{"reload", "lua", "resolve"}

// playSites tells the stories once for each engine that this Nginx can, each time in a site of its own. nginx is what the
// rows name it.
func (o *options) playSites(ctx context.Context, p project, nginx string) (*harness.Report, error) {
	rows := make([][]harness.Result, len(engines))
	g, ctx := errgroup.WithContext(ctx)
	for i, engine := range engines {
		g.Go(func() (err error) {
			p := p
			p.name += "-" + engine
			apply, live := "auto", engine // with auto it is reload where this engine will not do
			if engine == "reload" {
				apply, live = "reload", "auto"
			}
			p.env = slices.Concat(p.env, []string{"APPLY=" + apply, "LIVE=" + live})
			fmt.Fprintln(os.Stderr, "starting", p.name)
			rows[i], err = p.tell(ctx, engine)
			if o.keep && err == nil && rows[i] != nil {
				fmt.Fprintf(os.Stderr, "a site goes on: docker ps --filter name=%s; to remove it: docker rm -fv $(docker ps -aq --filter name=%[1]s)\n", p.name)
				return nil
			}
			return errors.Join(err, p.down())
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	all := &harness.Report{Network: "containers"}
	for _, row := range slices.Concat(rows...) {
		row.Template, row.Nginx = "(site)", nginx
		all.Results = append(all.Results, row)
	}
	return all, nil
}

// tell brings the site up and plays all stories; a story finds what those before it have left broken. There are no rows
// if Nginx can't do that engine. err means that it was told to end.
func (p *project) tell(ctx context.Context, engine string) (rows []harness.Result, err error) {
	s, err := p.open(ctx)
	var is string
	if err == nil {
		is, err = s.engine(ctx)
	}
	if err == nil && is != engine {
		return nil, nil
	}
	note := func(row harness.Result, err error) {
		if err != nil {
			logs, _ := p.compose(ctx, "logs", "--tail", "10", "--no-color", "nginx", "lbd")
			row.Faults = []string{fmt.Sprintf("%v\n%s", err, logs)}
		}
		row.Engine = engine
		rows = append(rows, row)
	}
	if err != nil {
		note(harness.Result{Case: "the site comes up"}, err)
		return rows, context.Cause(ctx)
	}
	for _, st := range stories {
		note(s.one(ctx, st, engine))
		if ctx.Err() != nil {
			break
		}
	}
	return rows, context.Cause(ctx)
}

// engine is how changes go into the site's Nginx. lbd may see only at its first change that a live engine will not do.
func (s *site) engine(ctx context.Context) (string, error) {
	seen, err := s.status(ctx)
	return seen.Engine.Name, err
}

// one plays a story under traffic.
func (s *site) one(ctx context.Context, st story, engine string) (harness.Result, error) {
	began := time.Now()
	row := harness.Result{Case: st.name, Nodes: map[string]int{}}
	t, err := s.send(ctx)
	if err != nil {
		return row, err
	}
	played := st.play(ctx, s, t)
	f, err := t.stop()
	row.Requests, row.Seconds = int(f.Sent), time.Since(began).Seconds()
	for id, n := range f.ByNode {
		row.Nodes[id] = int(n)
	}
	var lost error
	row.Went, lost = st.judge(f, engine)
	return row, errors.Join(played, err, lost)
}

// judge says how the requests fared, and returns an error if any was lost that Nginx does not lose by itself.
func (st story) judge(f figures, engine string) (went string, err error) {
	lost := f.Failed + f.Dropped
	went = fmt.Sprintf("%d lost; slowest %.2f s", lost, f.Slowest)
	switch t := st.loses[engine]; {
	case lost == 0:
		return went, nil
	case lost <= t.most && f.ByReason[t.reason] == lost:
		return fmt.Sprintf("%d lost %s; slowest %.2f s", lost, t.why, f.Slowest), nil
	}
	return went, fmt.Errorf("%d requests were lost: %v", lost, f.ByReason)
}
