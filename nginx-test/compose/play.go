package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/nginx-test/base"
)

// errFaults means that the table has faults in it.
var errFaults = errors.New("there are faults")

// play plays everything with each image, and prints one table.
func (o *options) play(ctx context.Context) (err error) {
	engine, err := base.Engine(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Stop()) }()
	p, err := o.project(ctx)
	if err != nil {
		return err
	}
	out, err := os.MkdirTemp("", "bbharness")
	if err != nil {
		return err
	}
	defer os.RemoveAll(out)
	var reports []string
	labels := strings.FieldsFunc(o.images, func(r rune) bool { return r == ' ' || r == ',' })
	for i, label := range labels {
		fmt.Fprintf(os.Stderr, "%s (%d of %d)\n", label, i+1, len(labels))
		files, err := o.playImage(ctx, *p, label, out)
		if err != nil {
			return fmt.Errorf("%s: %w", label, err)
		}
		reports = append(reports, files...)
	}
	return o.table(ctx, reports)
}

// project is what all images have in common.
func (o *options) project(ctx context.Context) (*project, error) {
	command, err := composeCommand(ctx)
	if err != nil {
		return nil, err
	}
	env, err := o.paths()
	if err != nil {
		return nil, err
	}
	return &project{name: "bazbeans-harness-" + strconv.Itoa(os.Getpid()), command: command, file: o.file, env: env}, nil
}

// paths are the variables of compose.yml that name files of the user's.
func (o *options) paths() (env []string, err error) {
	if o.golden != "" {
		if err := os.MkdirAll(o.golden, 0o755); err != nil {
			return nil, err
		}
	}
	for _, v := range []struct{ name, path string }{{"BIN", o.bin}, {"TEMPLATES", o.templates}, {"CASES", o.cases}, {"FIXTURE", o.fixture}, {"GOLDEN", o.golden}, {"INCLUDE", o.include}} {
		if v.path == "" {
			continue
		}
		path, err := filepath.Abs(v.path)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(path); err != nil { // docker would make a folder of that name
			return nil, err
		}
		env = append(env, v.name+"="+path)
	}
	return env, nil
}

// playImage plays cases and stories with one image and returns the files that hold what came of them.
func (o *options) playImage(ctx context.Context, p project, label, out string) (files []string, err error) {
	i, err := find(ctx, label)
	if err != nil {
		return nil, err
	}
	version, err := i.version(ctx)
	if err != nil {
		return nil, err
	}
	p.env = slices.Concat(p.env, i.env)
	defer func() {
		if o.keep && ctx.Err() == nil {
			fmt.Fprintf(os.Stderr, "the site goes on: docker ps --filter name=%s; to remove it: docker rm -fv $(docker ps -aq --filter name=%[1]s)\n", p.name)
			return
		}
		err = errors.Join(err, p.down())
	}()
	name := filepath.Join(out, strings.NewReplacer("/", "_", ":", "_").Replace(label))

	played, err := o.playCases(ctx, &p, label)
	if err != nil {
		return nil, err
	}
	told, err := json.Marshal(p.tell(ctx, fmt.Sprintf("%s (%s)", version, label)))
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return []string{name + ".json", name + "-site.json"}, errors.Join(os.WriteFile(name+".json", played, 0o644), os.WriteFile(name+"-site.json", told, 0o644))
}

// playCases plays the cases in a container of their own and returns the report.
func (o *options) playCases(ctx context.Context, p *project, label string) (report []byte, err error) {
	args := []string{"run", "--rm", "-T", "--no-deps", "cases", "--cases", "/cases", "--label", label, "-o", "json"}
	for _, given := range []struct{ value, flag, path string }{{o.templates, "--templates", "/templates"}, {o.fixture, "--fixture", "/fixture.yaml"},
		{o.golden, "--golden", "/golden"}, {o.include, "--include", "/include.conf"}} {
		if given.value != "" {
			args = append(args, given.flag, given.path)
		}
	}
	if o.update {
		args = append(args, "--update")
	}
	report, err = p.compose(ctx, append(args, o.more...)...)
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.ExitCode() == 1 && json.Valid(report) {
		err = nil // there are faults, and they are in the report
	}
	return report, err
}

// tell brings the site up and plays all stories. What a story has left broken the later ones find.
func (p *project) tell(ctx context.Context, nginx string) *report {
	r := &report{OK: true, Network: "containers"}
	note := func(row result, err error) {
		if err != nil {
			logs, _ := p.compose(ctx, "logs", "--tail", "10", "--no-color", "nginx", "lbd")
			row.Faults = []string{fmt.Sprintf("%v\n%s", err, logs)}
		}
		row.Template, row.Nginx, row.Engine, row.OK = "(site)", nginx, "reload", err == nil
		r.OK = r.OK && row.OK
		r.Results = append(r.Results, row)
	}
	s, err := p.open(ctx)
	if err != nil {
		note(result{Case: "the site comes up"}, err)
		return r
	}
	for _, st := range stories {
		if ctx.Err() != nil {
			break
		}
		note(s.one(ctx, st))
	}
	return r
}

// one plays a story under traffic.
func (s *site) one(ctx context.Context, st story) (result, error) {
	began := time.Now()
	row := result{Case: st.name, Nodes: map[string]int{}}
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
	lost := f.Failed + f.Dropped
	row.Went = fmt.Sprintf("%d lost; slowest %.2f s", lost, f.Slowest)
	if lost > 0 {
		err = errors.Join(err, fmt.Errorf("%d requests were lost: %v", lost, f.ByReason))
	}
	return row, errors.Join(played, err)
}

// table has lbd print what the files hold.
func (o *options) table(ctx context.Context, files []string) error {
	args := []string{"test"}
	for _, f := range files {
		args = append(args, "--from", f)
	}
	if o.junit != "" {
		args = append(args, "--junit", o.junit)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(o.bin, "lbd"), args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err := cmd.Run()
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.ExitCode() == 1 {
		return errFaults
	}
	return err
}
