package harness

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/go-multierror"
	"go.yaml.in/yaml/v3"

	"github.com/bazbeans/bazbeans/conf"
	"github.com/bazbeans/bazbeans/lbd"
	"github.com/bazbeans/bazbeans/pool"
)

// Case is one file of a cases folder: nodes and settings, and what must come of them. docs/harness.md explains its keys.
type Case struct {
	Name      string   `yaml:"-"`         // the file's, without .yaml
	Shows     string   `yaml:"shows"`     // one sentence
	Templates []string `yaml:"templates"` // only for templates that match one of these; default: all
	Upstream  raw      `yaml:"upstream"`  // keys of an entry of lbd's `upstreams:`
	Nodes     raw      `yaml:"nodes"`     // as in a fixture of `lbd render`
	Count     int      `yaml:"count"`     // so many made-up nodes in place of Nodes
	Dead      []string `yaml:"dead"`      // nodes that break every connection
	Send      Send     `yaml:"send"`
	Want      Want     `yaml:"want"`

	file string
}

// Send is the traffic of a case.
type Send struct {
	Requests int `yaml:"requests"` // one after the other; default: as many as the nodes need, at least 20
	Clients  int `yaml:"clients"`  // from so many addresses, for ip_hash; default 1
	URIs     int `yaml:"uris"`     // to so many different URIs, for hash; default: each request to its own
	Together int `yaml:"together"` // afterwards so many at once, each answered when all have arrived
}

// raw is a part that is decoded later, when a case is played: it may be wrong on purpose.
type raw struct{ node *yaml.Node }

// UnmarshalYAML keeps the node.
func (r *raw) UnmarshalYAML(n *yaml.Node) error {
	r.node = n
	return nil
}

const (
	maxCount    = 10_000
	maxRequests = 100_000
	maxTogether = 500
	maxClients  = 50_000 // addresses of 127.0.0.0/8 that differ in their first three bytes
)

var caseName = regexp.MustCompile(`\A[A-Za-z0-9][A-Za-z0-9._-]{0,99}\z`)

// ReadCases reads all *.yaml of a folder, sorted by name; where is the folder's name, for errors, which name all that is
// wrong with all files.
func ReadCases(fsys fs.FS, where string) ([]*Case, error) {
	names, err := fs.Glob(fsys, "*.yaml")
	if err != nil {
		return nil, err
	}
	var cases []*Case
	var broken *multierror.Error
	for _, name := range names {
		c := &Case{Name: strings.TrimSuffix(name, ".yaml"), file: path.Join(where, name)}
		text, err := fs.ReadFile(fsys, name)
		var doc yaml.Node
		if err == nil {
			err = yaml.Unmarshal(text, &doc)
		}
		if err == nil {
			err = conf.DecodeNode(&doc, "", c) // not conf.Decode: ${NAME} means nothing here
		}
		if err == nil {
			err = c.check()
		}
		if err != nil {
			broken = multierror.Append(broken, conf.InFile(c.file, err))
			continue
		}
		cases = append(cases, c)
	}
	if broken != nil {
		broken.ErrorFormat = func(errs []error) string { return errors.Join(errs...).Error() }
		return nil, broken
	}
	if len(cases) == 0 {
		return nil, fmt.Errorf("%s has no case (*.yaml): `lbd test --write-cases %s` puts the standard ones there", where, where)
	}
	return cases, nil
}

func (c *Case) check() error {
	var errs []error
	bad := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(!caseName.MatchString(c.Name), "the file's name: use letters, digits and . _ -")
	bad(c.Shows == "", "shows: say in a sentence what the case shows")
	bad(c.Count < 0 || c.Count > maxCount, "count: %d is not a number from 0 to %d", c.Count, maxCount)
	bad(c.Count > 0 && c.Nodes.node != nil, "count: there are nodes already; give one of the two")
	for _, n := range []struct {
		key         string
		value, most int
	}{{"requests", c.Send.Requests, maxRequests}, {"clients", c.Send.Clients, maxClients}, {"uris", c.Send.URIs, maxRequests},
		{"together", c.Send.Together, maxTogether}} {
		bad(n.value < 0 || n.value > n.most, "send.%s: %d is not a number from 0 to %d", n.key, n.value, n.most)
	}
	for _, glob := range c.Templates {
		_, err := path.Match(glob, "")
		bad(err != nil, "templates: %q is no pattern", glob)
	}
	return errors.Join(append(errs, c.Want.check(c))...)
}

// isFor reports whether the case is to be played with a template.
func (c *Case) isFor(template string) bool {
	return len(c.Templates) == 0 || slices.ContainsFunc(c.Templates, func(glob string) bool { return match(glob, template) })
}

// match is path.Match for patterns that were checked.
func match(glob, name string) bool {
	ok, err := path.Match(glob, name)
	return ok && err == nil
}

// fixture returns the case's nodes, or why lbd refuses them.
func (c *Case) fixture() (lbd.Fixture, error) {
	if c.Count > 0 {
		return generated(c.Count)
	}
	if c.Nodes.node == nil {
		return lbd.Fixture{}, nil
	}
	f, err := lbd.ParseFixture(c.Nodes.node)
	if err != nil {
		return f, conf.InFile(c.file, err)
	}
	return f, nil
}

// upstream returns the case's settings for a template, with the upstream's name unless the case names it; or why lbd
// refuses them.
func (c *Case) upstream(name, template string) (lbd.UpstreamConfig, error) {
	node := c.Upstream.node
	if node == nil {
		node = &yaml.Node{Kind: yaml.MappingNode}
	}
	var u lbd.UpstreamConfig
	if err := conf.DecodeNode(node, "upstream", &u); err != nil {
		return u, conf.InFile(c.file, err)
	}
	u.Name, u.Template, u.Output = cmp.Or(u.Name, name), template, anyOutput
	return u, nil
}

// anyOutput is where the output would be; nobody writes there.
const anyOutput = "/etc/nginx/conf.d/upstream.conf"

// generated is n nodes in dc1, node0001 at 10.1.0.1 and so on.
func generated(n int) (lbd.Fixture, error) {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "- {id: node%04d, address: 10.1.%d.%d, port: 8000, data_center: dc1}\n", i+1, i/250, i%250+1)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(b.String()), &doc); err != nil {
		return lbd.Fixture{}, err
	}
	return lbd.ParseFixture(&doc)
}

// isNode reports whether text can be a node's id or a fallback's address.
func isNode(text string) bool { return pool.CheckID(text) == nil || strings.Contains(text, ":") }
