package main

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/nginx-test/base"
)

// The ways in which lbd's changes go into Nginx, as nginx.live of lbd.yaml has them, and reload.
const (
	byReload  = "reload"
	byLua     = "lua"
	byResolve = "resolve"
)

var engines = []string{byReload, byLua, byResolve}

// chooseEngines returns the engines that a word on the command line stands for.
func chooseEngines(word string) ([]string, error) {
	if word == "all" {
		return engines, nil
	}
	if !slices.Contains(engines, word) {
		return nil, cli.Usagef("--engine: %q is none of %v, all", word, engines)
	}
	return []string{word}, nil
}

// live says whether peers go in without a reload.
func (s *Site) live() bool { return s.engine != byReload }

// build is the Nginx that both of a site's are: one with the Lua module, or one that is new enough to follow names.
func (s *Site) build(ctx context.Context) (o servers.NginxOptions, err error) {
	switch s.engine {
	case byLua:
		o.Modules = (&base.Root{}).Lua() // of this machine: the same paths
	case byResolve:
		if os.Geteuid() != 0 {
			return o, fmt.Errorf("%w: an nginx from 1.27.3 on comes with a Debian, which root makes and runs", errCannot)
		}
		root, err := base.Get(ctx, "sid")
		if err != nil {
			return o, fmt.Errorf("an nginx from 1.27.3 on: %w", err)
		}
		o.Binary = root.Nginx()
	}
	return o, nil
}
