package lbd

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/conf"
	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/resolvers"
)

// Fixture is nodes as a file has them: the fields of a node in /status. A node without a state is active, without a
// weight has weight 1.
type Fixture struct{ nodes []fact }

// ReadFixture reads a YAML or JSON file with a list of nodes, or a mapping with the list under `nodes`, as /status has it.
// Its errors have exit code 2.
func ReadFixture(path string) (Fixture, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return Fixture{}, &cli.Error{Code: cli.Usage, Err: err}
	}
	// A saved /status has other keys beside the list: they are passed over; those of a node are checked.
	var doc yaml.Node
	if err := yaml.Unmarshal(src, &doc); err != nil {
		return Fixture{}, cli.Usagef("%s: %w", path, err)
	}
	list := &doc
	if len(doc.Content) == 1 && doc.Content[0].Kind == yaml.MappingNode {
		var top map[string]yaml.Node
		if err := doc.Decode(&top); err != nil {
			return Fixture{}, cli.Usagef("%s: %w", path, err)
		}
		n, ok := top["nodes"]
		if !ok {
			return Fixture{}, cli.Usagef("%s: there is no key nodes (want a list of nodes with id and address, as in /status)", path)
		}
		list = &n
	}
	f, err := ParseFixture(list)
	if err != nil {
		return f, &cli.Error{Code: cli.Usage, Err: conf.InFile(path, err)}
	}
	return f, nil
}

// ParseFixture reads a list of nodes. Its errors name the lines of the list's file, but not the file.
func ParseFixture(list *yaml.Node) (Fixture, error) {
	for list.Kind == yaml.DocumentNode && len(list.Content) == 1 {
		list = list.Content[0]
	}
	if list.Kind == yaml.AliasNode {
		list = list.Alias
	}
	var nodes []fixtureNode
	if err := conf.DecodeNode(list, "nodes", &nodes); err != nil {
		return Fixture{}, err
	}
	var f Fixture
	for i, n := range nodes {
		fact, err := n.fact()
		if err != nil {
			return Fixture{}, fmt.Errorf("line %d: nodes[%d]: %w", list.Content[i].Line, i, err)
		}
		f.nodes = append(f.nodes, fact)
	}
	slices.SortFunc(f.nodes, func(a, b fact) int { return strings.Compare(a.ID, b.ID) })
	return f, nil
}

// IDs are those of all nodes, sorted.
func (f Fixture) IDs() []string {
	ids := make([]string, len(f.nodes))
	for i := range f.nodes {
		ids[i] = f.nodes[i].ID
	}
	return ids
}

// facts are the fixture as if a look at Redis had found it just now.
func (f Fixture) facts() *facts { return &facts{at: time.Now(), nodes: f.nodes} }

// fixtureNode is a NodeStatus in which a missing weight differs from 0.
type fixtureNode struct {
	NodeStatus `yaml:",inline"`
	Weight     *int `yaml:"weight"`
}

func (n fixtureNode) fact() (fact, error) {
	if err := pool.CheckID(n.ID); err != nil {
		return fact{}, err
	}
	node := pool.Node{ID: n.ID, DataCenter: n.DataCenter, Port: n.Port, Weight: 1, Labels: n.Labels, Agent: "fixture",
		Registered: true, Active: true, Alive: true}
	if n.Weight != nil {
		node.Weight = *n.Weight
	}
	if node.Weight < 0 || node.Weight > pool.MaxWeight {
		return fact{}, fmt.Errorf("%s: weight %d is not a number from 0 to %d", n.ID, node.Weight, pool.MaxWeight)
	}
	var at resolvers.Endpoint
	if n.Address != "" {
		addr, err := pool.ParseAddress(n.Address)
		if err != nil {
			return fact{}, fmt.Errorf("%s: %w", n.ID, err)
		}
		at.Addr = addr
	}
	switch pool.State(n.State) {
	case "", pool.Active:
	case pool.Frozen:
		node.Freeze, node.Active = &pool.Freeze{}, false
	case pool.Unhealthy:
		node.IsFrozen, node.Active = true, false
	case pool.Dead:
		node.Alive = false
	case pool.Inactive, pool.Faulty:
		node.Active = false
	default:
		return fact{}, fmt.Errorf("%s: state %.40q is not one of active, frozen, unhealthy, dead, inactive, faulty", n.ID, n.State)
	}
	r := resolvers.Resolution{Endpoint: at, Link: "fixture"}
	if !at.Addr.IsValid() {
		r.Err = errors.New("the fixture gives it no address")
	}
	return fact{Node: node, where: r}, nil
}
