package lbd

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/go-multierror"
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
// struct with yaml tags; Arg is the ARG of a --resolver flag.
type Kind struct {
	Name string
	Make func(s Settings, p *pool.Pool) (resolvers.Resolver, error)
}

// Settings are what the config says of one resolver.
type Settings struct {
	Arg  string     // of --resolver KIND:ARG, "" from a file
	node *yaml.Node // nil from a flag
	path string     // in the file
	read *bool      // whether Decode was called
}

// Decode fills dst, a pointer to a struct with yaml tags. Unknown keys are errors; for a kind that never calls it, all
// are.
func (s Settings) Decode(dst any) error {
	if s.read != nil {
		*s.read = true
	}
	if s.node == nil {
		return nil
	}
	if err := conf.DecodeNode(s.node, s.path, dst); err != nil {
		return inFile{err}
	}
	return nil
}

// inFile is an error whose lines name the line of the config file.
type inFile struct{ error }

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
		if s.Arg != "" {
			return nil, fmt.Errorf("it takes no argument (%.40q)", s.Arg)
		}
		return resolvers.NewRedis(p), s.Decode(&struct{}{})
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
	{Name: "dns", Make: func(s Settings, _ *pool.Pool) (resolvers.Resolver, error) {
		o := resolvers.DNSOptions{Suffix: s.Arg}
		if err := s.Decode(&o); err != nil {
			return nil, err
		}
		return resolvers.NewDNS(o)
	}},
	{Name: "callback", Make: func(s Settings, _ *pool.Pool) (resolvers.Resolver, error) {
		var o resolvers.CallbackOptions
		switch {
		case strings.HasPrefix(s.Arg, "http://"), strings.HasPrefix(s.Arg, "https://"):
			o.URL = s.Arg
		case s.Arg != "":
			o.Exec = []string{s.Arg}
		}
		if err := s.Decode(&o); err != nil {
			return nil, err
		}
		return resolvers.NewCallback(o)
	}},
}

// links makes the chain's links; kinds are tried before the shipped ones. The error names all that is wrong.
func links(configs []ResolverConfig, kinds []Kind, p *pool.Pool) ([]resolvers.Link, error) {
	known := map[string]Kind{}
	for _, k := range append(slices.Clone(shipped), kinds...) {
		known[k.Name] = k
	}
	var made []resolvers.Link
	var errs *multierror.Error
	names := map[string]int{}
	for i, c := range configs {
		path := fmt.Sprintf("resolvers[%d]", i)
		k, ok := known[c.Kind]
		if !ok {
			err := fmt.Errorf("no resolver is called %.40q (known: %s)", c.Kind, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
			errs = multierror.Append(errs, c.located(path, err))
			continue
		}
		path += "." + c.Kind
		link, err := c.link(k, path, p)
		if err != nil {
			errs = multierror.Append(errs, c.located(path, err))
			continue
		}
		if names[c.Kind]++; names[c.Kind] > 1 {
			link.Name = fmt.Sprintf("%s-%d", c.Kind, names[c.Kind]) // people and metrics tell them apart
		}
		made = append(made, link)
	}
	if errs == nil {
		return made, nil
	}
	errs.ErrorFormat = plainList
	for _, l := range made {
		errs = multierror.Append(errs, shut(l.Resolver))
	}
	return nil, errs
}

func shut(r resolvers.Resolver) error {
	if closer, ok := r.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

func (r *ResolverConfig) link(k Kind, path string, p *pool.Pool) (resolvers.Link, error) {
	var own common
	var read bool
	settings := Settings{Arg: r.Arg, node: split(r.node, &own), path: path, read: &read}
	next, err := own.next()
	if err != nil {
		return resolvers.Link{}, err
	}
	made, err := k.Make(settings, p)
	if err == nil && !read {
		if err = settings.Decode(&struct{}{}); err != nil {
			err = errors.Join(err, shut(made))
		}
	}
	return resolvers.Link{Name: k.Name, Resolver: made, Next: next}, err
}

// located says where the resolver stands that err is about: in the file, or on the command line.
func (r *ResolverConfig) located(path string, err error) error {
	switch {
	case errors.As(err, new(inFile)):
		return err
	case r.node != nil:
		return inFile{fmt.Errorf("line %d: %s: %w", r.node.Line, path, err)}
	case r.Arg != "":
		return fmt.Errorf("--resolver %.40s:%.80s: %w", r.Kind, r.Arg, err)
	}
	return fmt.Errorf("--resolver %.40s: %w", r.Kind, err)
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
