package resolvers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bazbeans/bazbeans/pool"
)

// Static resolves nodes from a fixed list. A node that is not in it is not its own.
type Static struct{ nodes map[string]Endpoint }

// NewStatic returns a resolver for a list of id -> "IP" or "IP:port". All bad entries are named in the error.
func NewStatic(nodes map[string]string) (*Static, error) {
	parsed, err := parseStatic(nodes)
	if err != nil {
		return nil, err
	}
	return &Static{nodes: parsed}, nil
}

// Resolve implements Resolver.
func (s *Static) Resolve(_ context.Context, nodes []pool.Node) (Answers, error) {
	answers := make(Answers)
	for i := range nodes {
		if ep, ok := s.nodes[nodes[i].ID]; ok {
			answers[nodes[i].ID] = Answer{Endpoint: ep}
		}
	}
	return answers, nil
}

func parseStatic(nodes map[string]string) (map[string]Endpoint, error) {
	parsed := make(map[string]Endpoint, len(nodes))
	var bad []string
	for _, id := range slices.Sorted(maps.Keys(nodes)) {
		ep, err := ParseEndpoint(nodes[id])
		if idErr := pool.CheckID(id); idErr != nil {
			err = idErr
		}
		if err != nil {
			bad = append(bad, fmt.Sprintf("node %.80q: %v", id, err))
			continue
		}
		parsed[id] = ep
	}
	if bad != nil {
		return nil, &RefusedError{Why: strings.Join(bad, "; ")}
	}
	return parsed, nil
}
