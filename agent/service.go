package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// Service says what start, stop, restart, update, pull, logs and status mean on this node. With neither, it is Docker
// Compose if app_dir holds the compose file, and else they are refused. A program of commands_dir with such a name comes
// before both.
type Service struct {
	Compose *ComposeService `yaml:"compose"`
	Systemd *SystemdService `yaml:"systemd"`
	Timeout Duration        `yaml:"timeout"` // of one of these commands; default 10m
}

// ComposeService is an application that Docker Compose runs.
type ComposeService struct {
	File string `yaml:"file"` // default compose_file
	Dir  string `yaml:"dir"`  // default app_dir
}

// SystemdService is an application that systemd runs.
type SystemdService struct {
	Unit string `yaml:"unit"` // like app.service
}

func (s Service) check() error {
	var errs []error
	if s.Compose != nil && s.Systemd != nil {
		errs = append(errs, errors.New("compose and systemd: want one of them"))
	}
	if s.Systemd != nil {
		errs = append(errs, checkUnit(s.Systemd.Unit))
	}
	if s.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("timeout %v must be more than 0", s.Timeout))
	}
	return errors.Join(errs...)
}

// serviceCommands are the plugin for the application's service: which one serves is asked at each command, so that a
// compose file may come later.
type serviceCommands struct{ a *Agent }

func (s serviceCommands) Handlers() map[string]Handler {
	all := map[string]Handler{}
	for _, verb := range []string{"start", "stop", "restart", "update", "pull", "logs", "status"} {
		all[verb] = func(ctx context.Context, c pool.Command) (any, error) {
			if h, ok := s.a.commandsDir().handler(verb); ok {
				return h(ctx, c) // the operator's own way
			}
			p, err := s.choose()
			if err != nil {
				return nil, err
			}
			h, ok := p.Handlers()[verb]
			if !ok {
				return nil, refuse("%s does not know %s", p, verb)
			}
			return h(ctx, c)
		}
	}
	return all
}

// service is a plugin that says what it is.
type service interface {
	Plugin
	fmt.Stringer
}

func (s serviceCommands) choose() (service, error) {
	cfg := s.a.rules.Load().Service
	limit := time.Duration(cfg.Timeout)
	if cfg.Systemd != nil {
		return &Systemd{Unit: cfg.Systemd.Unit, Timeout: limit, path: s.a.path}, nil
	}
	p := &Compose{Dir: s.a.cfg.AppDir, File: s.a.cfg.ComposeFile, Timeout: limit, path: s.a.path}
	if cfg.Compose != nil {
		p.File, p.Dir = or(cfg.Compose.File, p.File), or(cfg.Compose.Dir, p.Dir)
	}
	if file := p.file(); !exists(file) {
		return nil, refuse("this node has no service: there is no %s (set service: {compose: {file: …}} or service: {systemd: {unit: …}}, or app_dir and compose_file)", file)
	}
	return p, nil
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// sequence runs programs one after another until one fails. The result holds the output of all, the failed one's exit
// code.
func sequence(ctx context.Context, path []string, dir string, limit time.Duration, runs ...[]string) (any, error) {
	if limit == 0 {
		limit = 10 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	all := &Ran{}
	for _, argv := range runs {
		ran, err := program{argv: argv, path: path, dir: dir, limit: limit}.run(ctx)
		if ran != nil {
			all.ExitCode, all.Stdout, all.Stderr = ran.ExitCode, all.Stdout+ran.Stdout, all.Stderr+ran.Stderr
		}
		if err != nil {
			return all, fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
		}
	}
	return all, nil
}

// tailLines is how many lines logs shows, and the most it may.
const (
	tailLines     = 100
	tailLinesMost = 10000
)

// linesAsked returns how many lines of logs a command asks for.
func linesAsked(c pool.Command) (int, error) {
	v, there := c.Args["lines"]
	if !there {
		return tailLines, nil
	}
	n, ok := v.(float64)
	if !ok || n < 1 || n > tailLinesMost || n != float64(int(n)) {
		return 0, refuse("lines %.20q is not a number from 1 to %d", fmt.Sprint(v), tailLinesMost)
	}
	return int(n), nil
}

// below is a file's path, as it is or below dir.
func below(dir, file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(dir, file)
}
