package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	for _, v := range []struct{ name, path string }{{"BIN", o.bin}, {"TEMPLATES", o.templates}, {"CASES", o.cases}, {"FIXTURE", o.fixture}, {"GOLDEN", o.golden}} {
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
	p.env = append(p.env[:len(p.env):len(p.env)], i.env...)
	defer func() {
		if o.keep && ctx.Err() == nil {
			fmt.Fprintf(os.Stderr, "the site of %s is up: %s -p %s ps; remove it with: docker rm -fv $(docker ps -aq --filter name=%[3]s)\n", label, strings.Join(p.command, " "), p.name)
			return
		}
		err = errors.Join(err, p.down())
	}()
	name := filepath.Join(out, strings.NewReplacer("/", "_", ":", "_").Replace(label))

	s, err := p.open(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		logs, _ := p.compose(ctx, "logs", "--tail", "20", "--no-color")
		return nil, fmt.Errorf("bring up the site: %w\n%s", err, logs)
	}
	r := s.tell(ctx, version+" "+label)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(name+"-site.json", text, 0o644); err != nil {
		return nil, err
	}

	args := []string{"run", "--rm", "-T", "--no-deps", "cases", "--cases", "/cases", "--label", label, "-o", "json"}
	for value, flags := range map[string][]string{o.templates: {"--templates", "/templates"}, o.fixture: {"--fixture", "/fixture.yaml"}, o.golden: {"--golden", "/golden"}} {
		if value != "" {
			args = append(args, flags...)
		}
	}
	if o.update {
		args = append(args, "--update")
	}
	text, err = p.compose(ctx, args...)
	if err := os.WriteFile(name+".json", text, 0o644); err != nil {
		return nil, err
	}
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.ExitCode() == 1 && json.Valid(text) {
		err = nil // there are faults, and they are in the file
	}
	return []string{name + ".json", name + "-site.json"}, err
}

// tell plays all stories. What a story has left broken the later ones find.
func (s *site) tell(ctx context.Context, nginx string) *report {
	r := &report{Network: "containers"}
	for _, st := range stories {
		began := time.Now()
		row := result{Template: "(site)", Case: st.name, Nginx: nginx, Engine: "reload"}
		f, err := s.one(ctx, st)
		row.Requests, row.Seconds = int(f.Sent), time.Since(began).Seconds()
		row.Went = fmt.Sprintf("%d of them failed; slowest %.2f s", f.Failed+f.Dropped, f.Slowest)
		row.Nodes = map[string]int{}
		for id, n := range f.ByNode {
			row.Nodes[id] = int(n)
		}
		if f.Failed+f.Dropped > 0 {
			err = errors.Join(err, fmt.Errorf("requests failed: %v", f.ByReason))
		}
		if err != nil {
			logs, _ := s.compose(ctx, "logs", "--tail", "10", "--no-color", "nginx", "lbd")
			row.Faults = []string{err.Error() + "\n" + string(logs)}
		}
		row.OK = err == nil
		fmt.Fprintf(os.Stderr, "  %-45s %4.1f s  %d requests, %s%s\n", st.name, row.Seconds, row.Requests, row.Went, strings.Join(append([]string{""}, row.Faults...), "\n"))
		r.Results = append(r.Results, row)
		if ctx.Err() != nil {
			break
		}
	}
	r.OK = true
	for _, row := range r.Results {
		r.OK = r.OK && row.OK
	}
	return r
}

// one plays a story under traffic.
func (s *site) one(ctx context.Context, st story) (figures, error) {
	t, err := s.send(ctx)
	if err != nil {
		return figures{}, err
	}
	played := st.play(ctx, s, t)
	f, err := t.stop()
	return f, errors.Join(played, err)
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
