package lbd

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bazbeans/bazbeans/conf"
	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/resolvers"
)

// ResolverConfig is one entry of `resolvers:`, a mapping with one key, the kind; a flag gives kind and argument.
type ResolverConfig struct {
	Kind string
	Arg  string     // of --resolver KIND:ARG
	node *yaml.Node // settings in the file; nil from a flag
}

// UnmarshalYAML reads "- redis: {}".
func (r *ResolverConfig) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode || len(n.Content) != 2 {
		return conf.Errorf(n, "want one resolver, like \"redis: {}\" or \"static: {file: nodes.yaml}\"")
	}
	r.Kind, r.node = n.Content[0].Value, n.Content[1]
	return nil
}

// Kind makes resolvers of one kind from the config. Settings decodes the mapping below the kind's key strictly into a
// struct with yaml tags; arg is the ARG of a --resolver flag.
type Kind struct {
	Name string
	Make func(s Settings, p *pool.Pool) (resolvers.Resolver, error)
}

// Settings are what the config says of one resolver.
type Settings struct {
	Arg  string // of --resolver KIND:ARG, "" from a file
	node *yaml.Node
}

// Decode fills dst, a pointer to a struct with yaml tags. Unknown keys are errors.
func (s Settings) Decode(dst any) error {
	if s.node == nil {
		return nil
	}
	text, err := yaml.Marshal(s.node)
	if err != nil {
		return err
	}
	return conf.Decode(text, dst)
}

// common are the settings that every kind has.
type common struct {
	OnError string `yaml:"on_error"` // keep (default) or next
}

func (c common) next() (bool, error) {
	switch c.OnError {
	case "", "keep":
		return false, nil
	case "next":
		return true, nil
	}
	return false, fmt.Errorf("on_error %q is not one of keep, next", c.OnError)
}

// shipped are the kinds that every lbd has.
var shipped = []Kind{
	{Name: "redis", Make: func(s Settings, p *pool.Pool) (resolvers.Resolver, error) {
		return resolvers.NewRedis(p), nil
	}},
	{Name: "static", Make: func(s Settings, _ *pool.Pool) (resolvers.Resolver, error) {
		c := struct {
			Nodes map[string]string `yaml:"nodes"`
			File  string            `yaml:"file"`
		}{File: s.Arg}
		if err := s.Decode(&c); err != nil {
			return nil, err
		}
		switch {
		case (c.File == "") == (len(c.Nodes) == 0):
			return nil, fmt.Errorf("give it either nodes: {id: address} or file: PATH")
		case c.File != "":
			return resolvers.NewStaticFile(c.File)
		}
		return resolvers.NewStatic(c.Nodes)
	}},
}

// links makes the chain's links; kinds are tried before the shipped ones.
func links(configs []ResolverConfig, kinds []Kind, p *pool.Pool) ([]resolvers.Link, error) {
	known := map[string]Kind{}
	for _, k := range append(slices.Clone(shipped), kinds...) {
		known[k.Name] = k
	}
	var made []resolvers.Link
	for i, c := range configs {
		k, ok := known[c.Kind]
		if !ok {
			return nil, fmt.Errorf("resolvers[%d]: no resolver is called %.40q (known: %s)", i, c.Kind, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		var own common
		settings := Settings{Arg: c.Arg, node: split(c.node, &own)}
		next, err := own.next()
		if err != nil {
			return nil, fmt.Errorf("resolvers[%d] %s: %w", i, c.Kind, err)
		}
		r, err := k.Make(settings, p)
		if err != nil {
			return nil, fmt.Errorf("resolvers[%d] %s: %w", i, c.Kind, err)
		}
		made = append(made, resolvers.Link{Name: c.Kind, Resolver: r, Next: next})
	}
	return made, nil
}

// split takes the common settings out of a resolver's mapping and returns the rest.
func split(n *yaml.Node, own *common) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return n
	}
	rest := *n
	rest.Content = nil
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "on_error" {
			own.OnError = n.Content[i+1].Value
			continue
		}
		rest.Content = append(rest.Content, n.Content[i], n.Content[i+1])
	}
	return &rest
}
