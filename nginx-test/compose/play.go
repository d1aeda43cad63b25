package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bazbeans/bazbeans/nginx-test/base"
)

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
	var images []*image
	for _, label := range strings.FieldsFunc(o.images, func(r rune) bool { return r == ' ' || r == ',' }) {
		i, err := find(ctx, label)
		if err != nil {
			return fmt.Errorf("%s: %w", label, err)
		}
		images = append(images, i)
	}
	var reports []string
	for n, i := range images {
		fmt.Fprintf(os.Stderr, "%s (%d of %d)\n", i.label, n+1, len(images))
		files, err := o.playImage(ctx, *p, i, out)
		if err != nil {
			return fmt.Errorf("%s: %w", i.label, err)
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
	env = append(env, "MODULES="+o.modules)
	return &project{name: "bazbeans-harness-" + strings.ToLower(rand.Text()), command: command, file: o.file, env: env}, nil
}

// paths makes the paths of the user's files absolute and returns the variables of compose.yml that name them.
func (o *options) paths() (env []string, err error) {
	if o.golden != "" {
		if err := os.MkdirAll(o.golden, 0o755); err != nil {
			return nil, err
		}
	}
	for _, v := range []struct {
		name string
		path *string
	}{{"BIN", &o.bin}, {"TEMPLATES", &o.templates}, {"CASES", &o.cases}, {"FIXTURE", &o.fixture}, {"GOLDEN", &o.golden}, {"INCLUDE", &o.include}} {
		if *v.path == "" {
			continue
		}
		if *v.path, err = filepath.Abs(*v.path); err != nil {
			return nil, err
		}
		if _, err := os.Stat(*v.path); err != nil { // docker would make a folder of that name
			return nil, err
		}
		env = append(env, v.name+"="+*v.path)
	}
	return env, nil
}

// playImage plays cases and stories with one image and returns the files that hold what came of them.
func (o *options) playImage(ctx context.Context, p project, i *image, out string) (files []string, err error) {
	version, err := i.version(ctx)
	if err != nil {
		return nil, err
	}
	p.env = slices.Concat(p.env, i.env)
	cases, well, err := o.playCases(ctx, p, i.label)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(out, strings.NewReplacer("/", "_", ":", "_").Replace(i.label))
	files = []string{name + ".json"}
	if err := os.WriteFile(files[0], cases, 0o644); err != nil {
		return nil, err
	}
	if !well {
		fmt.Fprintln(os.Stderr, "there are faults: no site is brought up")
		return files, nil
	}
	told, err := o.playSites(ctx, p, fmt.Sprintf("%s (%s)", version, i.label))
	if err != nil {
		return nil, err
	}
	stories, err := json.Marshal(told)
	if err != nil {
		return nil, err
	}
	files = append(files, name+"-site.json")
	return files, os.WriteFile(files[1], stories, 0o644)
}

// playCases plays the cases in a container of their own and returns the report, and whether all is well.
func (o *options) playCases(ctx context.Context, p project, label string) (report []byte, well bool, err error) {
	defer func() { err = errors.Join(err, p.down()) }()
	args := []string{"run", "--rm", "-T", "--no-deps", "cases", "--label", label, "-o", "json"}
	report, err = p.compose(ctx, slices.Concat(args, o.caseFlags())...)
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.ExitCode() == 1 && json.Valid(report) {
		return report, false, nil // there are faults, and they are in the report
	}
	return report, err == nil, err
}

// table has lbd print what the files hold.
func (o *options) table(ctx context.Context, files []string) error {
	var args []string
	for _, f := range files {
		args = append(args, "--from", f)
	}
	return o.lbdTest(ctx, args...)
}
