package resolvers

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/bazbeans/bazbeans/pool"
)

// Static resolves nodes from a fixed list, or from a file that is read again when it has changed.
type Static struct {
	nodes map[string]Endpoint
	file  string
	seen  fileMark
	err   error // of the last reading; the list read before stays
}

// NewStatic returns a resolver for a list of id -> "IP" or "IP:port". All bad entries are named in the error.
func NewStatic(nodes map[string]string) (*Static, error) {
	parsed, err := parseStatic(nodes)
	if err != nil {
		return nil, err
	}
	return &Static{nodes: parsed}, nil
}

// NewStaticFile returns a resolver for a YAML or JSON file that maps id to "IP" or "IP:port". The file must be right
// at the start; one that is broken later changes nothing, and its nodes become "cannot know" where they are new.
func NewStaticFile(path string) (*Static, error) {
	s := &Static{file: path}
	if s.refresh(); s.err != nil {
		return nil, s.err
	}
	return s, nil
}

// Resolve implements Resolver.
func (s *Static) Resolve(_ context.Context, nodes []pool.Node) (Answers, error) {
	if s.file != "" {
		s.refresh()
	}
	answers := make(Answers)
	for i := range nodes {
		if ep, ok := s.nodes[nodes[i].ID]; ok {
			answers[nodes[i].ID] = Answer{Endpoint: ep}
		}
	}
	return answers, s.err
}

// fileMark tells one state of a file from another.
type fileMark struct {
	mod  time.Time
	size int64
}

func (s *Static) refresh() {
	info, err := os.Stat(s.file)
	if err != nil {
		s.err, s.seen = fmt.Errorf("static resolver: %w", err), fileMark{}
		return
	}
	mark := fileMark{info.ModTime(), info.Size()}
	if mark == s.seen {
		return
	}
	s.seen = mark
	nodes, err := readStatic(s.file)
	if s.err = err; err == nil {
		s.nodes = nodes
	}
}

func readStatic(path string) (map[string]Endpoint, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("static resolver: %w", err)
	}
	var nodes map[string]string
	if err := yaml.Unmarshal(src, &nodes); err != nil {
		return nil, fmt.Errorf("static resolver: %s: %w (write one \"node: address\" a line)", path, err)
	}
	parsed, err := parseStatic(nodes)
	if err != nil {
		return nil, fmt.Errorf("static resolver: %s: %w", path, err)
	}
	return parsed, nil
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
