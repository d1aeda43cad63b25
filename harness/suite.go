package harness

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/lbd"
	"github.com/bazbeans/bazbeans/templates"
)

// subject is a template to be tested, and the upstream it is for.
type subject struct{ template, upstream string }

const defaultName = "app_backend" // of an upstream, as in lbd's config

// subjects are the templates of the folder and those that the config's upstreams name; without any, lbd's own.
func subjects(folder string, upstreams []lbd.UpstreamConfig) ([]subject, error) {
	var list []subject
	add := func(template, upstream string) {
		if !slices.ContainsFunc(list, func(s subject) bool { return s.template == template }) {
			list = append(list, subject{template, cmp.Or(upstream, defaultName)})
		}
	}
	for _, u := range upstreams {
		add(cmp.Or(u.Template, templates.Default), u.Name)
	}
	if folder != "" {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil, cli.Usagef("templates: %w", err)
		}
		for _, e := range entries {
			info, err := os.Stat(folder + "/" + e.Name()) // through links: a mounted ConfigMap has them
			if err == nil && info.Mode().IsRegular() && strings.HasSuffix(e.Name(), ".tmpl") && !strings.HasPrefix(e.Name(), ".") {
				add(e.Name(), "")
			}
		}
	}
	if len(list) == 0 {
		add(templates.Default, "")
	}
	return list, nil
}

// folder is the templates folder, "" for the built-in ones alone: the default one may be missing.
func folder(named string) string {
	if named == lbd.DefaultConfig().Templates {
		if _, err := os.Stat(named); errors.Is(err, os.ErrNotExist) {
			return ""
		}
	}
	return named
}

// ofCase is the play of a case with a template.
func ofCase(c *Case, s subject) *play {
	p := &play{name: c.Name, template: s.template, send: c.Send, dead: c.Dead}
	u, err := c.upstream(s.upstream, s.template)
	if err == nil {
		p.upstreams = []lbd.UpstreamConfig{u}
		p.nodes, err = c.fixture()
	}
	p.refusal = err
	p.wants = []Want{c.Want.settle(p.nodes.IDs())}
	return p
}

// ofConfig are plays of the config's upstreams with all their own settings, together in one Nginx, and of each further
// template in an upstream with the default ones. Wanted is that all nodes that lbd puts in get traffic, and nobody else.
func ofConfig(name string, upstreams []lbd.UpstreamConfig, list []subject, nodes lbd.Fixture) (plays []*play) {
	add := func(u ...lbd.UpstreamConfig) {
		if len(u) > 0 {
			plays = append(plays, &play{name: name, template: u[0].Template, upstreams: u, nodes: nodes, derived: true, wants: make([]Want, len(u))})
		}
	}
	add(upstreams...)
	for _, s := range list {
		if slices.ContainsFunc(upstreams, func(u lbd.UpstreamConfig) bool { return u.Template == s.template }) {
			continue
		}
		u, err := new(Case).upstream(s.upstream, s.template)
		if err == nil { // there is nothing in it that could be wrong
			add(u)
		}
	}
	return plays
}

// madeFor are three nodes for each upstream that its select takes.
func madeFor(upstreams []lbd.UpstreamConfig) (lbd.Fixture, error) {
	type node struct {
		ID         string            `yaml:"id"`
		Address    string            `yaml:"address"`
		DataCenter string            `yaml:"data_center"`
		Labels     map[string]string `yaml:"labels"`
	}
	var nodes []node
	for i, u := range upstreams {
		labels := maps.Clone(u.Select.Labels)
		if label, ok := strings.CutPrefix(u.PortFrom, "label:"); ok {
			if labels == nil {
				labels = map[string]string{}
			}
			labels[label] = strconv.Itoa(int(u.Port))
		}
		for n := range 3 {
			nodes = append(nodes, node{ID: fmt.Sprintf("sample%d-%d", i+1, n+1), Address: fmt.Sprintf("10.2.%d.%d", i%250, n+1), Labels: labels,
				DataCenter: append(slices.Clone(u.Select.DataCenter), "dc1")[0]})
		}
	}
	var list yaml.Node
	if err := list.Encode(nodes); err != nil {
		return lbd.Fixture{}, err
	}
	return lbd.ParseFixture(&list)
}
