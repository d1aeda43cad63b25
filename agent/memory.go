package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/bazbeans/bazbeans/pool"
)

// memory is what an agent knows of its operator's freeze, kept in the state folder so that it outlives both Redis and
// the agent: a Redis that lost everything must not bring a frozen node back into traffic. Without a folder it is
// forgotten with the process.
type memory struct {
	file   string // "": none
	nodeID string
	freeze *pool.Freeze
	rev    int64 // of the node when freeze was first known
	unkept bool  // the file does not say so: a write failed
}

// remembered is the file's content.
type remembered struct {
	NodeID string       `json:"node_id"`
	Freeze *pool.Freeze `json:"freeze"`
	Rev    int64        `json:"rev,omitempty"`
}

func newMemory(stateDir, nodeID string) *memory {
	m := &memory{nodeID: nodeID}
	if stateDir != "" {
		m.file = filepath.Join(stateDir, "freeze.json")
	}
	return m
}

// load reads what the agent before this one knew; of another node's nothing is taken.
func (m *memory) load() error {
	if m.file == "" {
		return nil
	}
	text, err := os.ReadFile(m.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the last known freeze: %w", err)
	}
	var r remembered
	if err := json.Unmarshal(text, &r); err != nil {
		return fmt.Errorf("read the last known freeze: %s: %w", m.file, err)
	}
	if r.NodeID == m.nodeID {
		m.freeze, m.rev = r.Freeze, r.Rev
	}
	return nil
}

// note keeps what Redis said last, of a node at rev. A write that failed is tried again with the next note.
func (m *memory) note(freeze *pool.Freeze, rev int64) error {
	same := freeze == m.freeze || freeze != nil && m.freeze != nil && *freeze == *m.freeze
	if same && !m.unkept {
		return nil
	}
	if !same {
		m.freeze, m.rev = freeze, rev
	}
	err := m.keep()
	m.unkept = err != nil
	return err
}

// keep makes the file say what is known.
func (m *memory) keep() error {
	if m.file == "" {
		return nil
	}
	if m.freeze == nil {
		if err := os.Remove(m.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget a lifted freeze: %w", err)
		}
		return nil
	}
	text, err := json.Marshal(remembered{m.nodeID, m.freeze, m.rev})
	if err != nil {
		return fmt.Errorf("encode freeze: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(m.file), 0o700); err != nil {
		return fmt.Errorf("keep the freeze: %w", err)
	}
	if err := renameio.WriteFile(m.file, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("keep the freeze: %w", err)
	}
	return nil
}
