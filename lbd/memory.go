package lbd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/google/renameio/v2"

	"github.com/bazbeans/bazbeans/render"
	"github.com/bazbeans/bazbeans/resolvers"
)

// memory is what lbd knows over a restart: what it proved Nginx to serve, and since when the guard holds.
type memory struct {
	generation
	Sets map[string][]render.Server `json:"sets"` // upstream -> its servers
	Held map[string]time.Time       `json:"held"` // upstream -> since when too much was gone
}

func (l *LB) memoryFile() string { return filepath.Join(l.cfg.StateDir, "lbd.json") }

// recall puts the memory back. None at all is no error.
func (l *LB) recall() error {
	text, err := os.ReadFile(l.memoryFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var m memory
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("%s: %w", l.memoryFile(), err)
	}
	l.wanted, l.remembered = m.generation, text
	known := map[string]resolvers.Endpoint{} // for nodes that no resolver can know now
	for _, u := range l.upstreams {
		set, ok := m.Sets[u.Name]
		if !ok {
			continue
		}
		u.history.add(time.Now(), l.cfg.Guard.Window, set)
		u.history.heldSince = m.Held[u.Name]
		for _, s := range set {
			at := resolvers.Endpoint{Addr: s.Addr.Addr(), Port: known[s.ID].Port}
			if u.PortFrom == "node" {
				at.Port = s.Addr.Port()
			}
			known[s.ID] = at
		}
	}
	l.chain.Recall(known)
	return nil
}

// remember writes the memory, whole or not at all, when it is not what is written already.
func (l *LB) remember() {
	m := memory{generation: l.running, Sets: map[string][]render.Server{}, Held: map[string]time.Time{}}
	for _, u := range l.upstreams {
		set := []render.Server{}
		for _, id := range slices.Sorted(maps.Keys(u.history.newest())) {
			set = append(set, u.history.newest()[id])
		}
		if len(u.history.sets) > 0 {
			m.Sets[u.Name] = set
		}
		if !u.history.heldSince.IsZero() {
			m.Held[u.Name] = u.history.heldSince
		}
	}
	text, err := json.Marshal(m)
	if err == nil && bytes.Equal(text, l.remembered) {
		return
	}
	if err == nil {
		err = renameio.WriteFile(l.memoryFile(), text, 0o600)
	}
	if err == nil {
		l.remembered = text
	}
	l.say.change("memory", err, "can't remember what is served: after a restart the guard begins anew", "what is served is remembered again")
}

// lock makes sure that one lbd works with a state folder at a time. The kernel lets go of it however lbd ends.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make state_dir: %w (run lbd as a user that may, or set state_dir)", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close() // the lock was not had
		return nil, fmt.Errorf("another lbd works with %s: stop it, or give this one a state_dir of its own", dir)
	}
	return func() { _ = f.Close() }, nil
}
