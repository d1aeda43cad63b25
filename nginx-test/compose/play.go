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
	cases, err := o.playCases(ctx, p, label)
	if err != nil {
		return nil, err
	}
	told, err := o.playSites(ctx, p, fmt.Sprintf("%s (%s)", version, label))
	if err != nil {
		return nil, err
	}
	stories, err := json.Marshal(told)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(out, strings.NewReplacer("/", "_", ":", "_").Replace(label))
	files = []string{name + ".json", name + "-site.json"}
	return files, errors.Join(os.WriteFile(files[0], cases, 0o644), os.WriteFile(files[1], stories, 0o644))
}

// playCases plays the cases in a container of their own and returns the report.
func (o *options) playCases(ctx context.Context, p project, label string) (report []byte, err error) {
	defer func() { err = errors.Join(err, p.down()) }()
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
