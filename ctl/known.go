package ctl

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bazbeans/bazbeans/trust"
)

// pins are the keys of nodes as they were seen first: a file known_nodes in the folder of the config, with a line
// "SITE NODE KEY" each. Whoever may write to Redis could put a key of his own in a node's place; here it shows.
type pins struct {
	path  string
	site  string // context, or address of Redis
	say   func(format string, args ...any)
	lines []string
}

func (s *session) pins() (*pins, error) {
	dir := configDir()
	if dir == "" {
		return nil, errors.New("--seal needs a home folder to remember nodes' keys in: set HOME")
	}
	p := &pins{path: filepath.Join(dir, "known_nodes"), site: s.site, say: s.say}
	if p.site == "" {
		p.site = s.pool.Where()
	}
	b, err := os.ReadFile(p.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read known nodes: %w", err)
	}
	p.lines = strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	return p, nil
}

// key returns the node's key if it is the one that was seen first, and remembers one that is new.
func (p *pins) key(node, line string) (*trust.SealKey, error) {
	if line == "" {
		return nil, errors.New("it has no key to seal to: an agent of ours with --state-dir makes one")
	}
	now, err := trust.ParseSealKey(line)
	if err != nil {
		return nil, err
	}
	for i, l := range p.lines {
		f := strings.SplitN(l, " ", 3)
		if len(f) != 3 || f[0] != p.site || f[1] != node {
			continue
		}
		was, err := trust.ParseSealKey(f[2])
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s:%d: %w", p.path, i+1, err)
		case was.Fingerprint() != now.Fingerprint():
			return nil, fmt.Errorf("its key has changed: %s is pinned, redis says %s; somebody may want to read along. If the agent's state_dir was made anew, "+
				"remove line %d of %s", was.Fingerprint(), now.Fingerprint(), i+1, p.path)
		}
		return now, nil
	}
	return now, p.add(node, now)
}

func (p *pins) add(node string, k *trust.SealKey) error {
	line := p.site + " " + node + " " + strings.TrimSpace(k.String())
	err := os.MkdirAll(filepath.Dir(p.path), 0o700)
	if err == nil {
		var f *os.File
		if f, err = os.OpenFile(p.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
			_, err = fmt.Fprintln(f, line)
			err = errors.Join(err, f.Close())
		}
	}
	if err != nil {
		return fmt.Errorf("remember its key: %w", err)
	}
	p.lines = append(p.lines, line)
	p.say("%s: seen for the first time, its key %s is pinned in %s", node, k.Fingerprint(), p.path)
	return nil
}
