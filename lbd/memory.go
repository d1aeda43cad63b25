package lbd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/bazbeans/bazbeans/resolvers"
)

// memory is what lbd knows over a restart beside the generations, and what it shows to other runs of lbd on this host.
type memory struct {
	Held    map[string]hold `json:"held"`            // by upstream
	Pinned  int64           `json:"pinned"`          // the generation that was pinned at the last turn; 0: none
	Applied bool            `json:"applied"`         // what that turn wanted is in place
	Running bool            `json:"running"`         // and Nginx runs
	TTL     map[string]int  `json:"ttl,omitempty"`   // of heartbeats of served nodes in seconds, where it is not the usual one
	Error   string          `json:"error,omitempty"` // of that turn
}

// hold is what the guard keeps of one upstream; `lbd approve` reads it.
type hold struct {
	Since time.Time `json:"since"` // when too much was gone, for the guard; zero: it holds for another reason
	Why   string    `json:"why"`
	Nodes []string  `json:"nodes"` // what is kept, sorted
}

func memoryFile(stateDir string) string { return filepath.Join(stateDir, "lbd.json") }

// readMemory reads what a memory file holds; none at all is no error.
func readMemory(stateDir string) (m memory, text []byte, err error) {
	text, err = os.ReadFile(memoryFile(stateDir))
	if errors.Is(err, os.ErrNotExist) {
		return m, nil, nil
	}
	if err == nil {
		if err = json.Unmarshal(text, &m); err != nil {
			err = fmt.Errorf("%s: %w", memoryFile(stateDir), err)
		}
	}
	return m, text, err
}

// recall puts back what is known of former runs. Nothing at all is no error.
func (l *LB) recall() error {
	var errs []error
	m, text, err := readMemory(l.cfg.StateDir)
	if err != nil {
		errs = append(errs, err)
	}
	l.memory, l.remembered = m, text
	if l.last, err = l.archive.newest(); err != nil {
		errs = append(errs, err)
	}
	l.vague = err != nil
	if l.record = l.last; l.last != nil {
		_, err := os.Stat(l.archive.path(l.last)) // it may only have been noted
		l.wanted, l.lastKept = l.last.generation, err == nil
	}
	l.findOrphans()
	l.sight.ttl = map[string]time.Duration{}
	for id, seconds := range m.TTL {
		l.sight.ttl[id] = min(time.Duration(seconds)*time.Second, ttlMost)
	}
	known := map[string]resolvers.Endpoint{} // for nodes that no resolver can know now
	for _, u := range l.upstreams {
		if u.history.heldSince = m.Held[u.Name].Since; u.history.heldSince.After(time.Now()) {
			u.history.heldSince = time.Now() // the clock was set back
		}
		s, ok := l.last.upstream(u)
		if !ok {
			continue
		}
		u.history.add(time.Now(), l.cfg.Guard.Window, s.Servers)
		u.placed(s.Servers)
		for _, s := range s.Servers {
			at := resolvers.Endpoint{Addr: s.Addr.Addr(), Port: known[s.ID].Port}
			if u.PortFrom == "node" {
				at.Port = s.Addr.Port()
			}
			known[s.ID] = at
		}
	}
	l.chain.Recall(known)
	return errors.Join(errs...)
}

// noteHolds keeps in mind since when the guard holds, and logs its word when that changes.
func (l *LB) noteHolds(p *Plan) {
	var errs []error
	for _, u := range l.upstreams {
		v := p.Guard[u.Name]
		u.history.heldSince = v.heldSince
		if v.why != "" {
			errs = append(errs, errors.New(u.Name+": "+v.why))
		}
	}
	l.say.change("guard", errors.Join(errs...), "the guard keeps servers against the pool's word", "the guard keeps nothing any more")
}

// remember writes the memory, whole or not at all, when it is not what is written already.
func (l *LB) remember(p *Plan) {
	m := memory{Held: l.memory.Held}
	if p.Guard != nil { // else the pool could not be looked at: what was held still is
		m.Held = map[string]hold{}
	}
	m.Pinned, m.Applied = p.Pinned.number(), l.settled && p.hash == l.running.Hash && !p.lacking
	m.Running = l.serving
	m.TTL = map[string]int{}
	for _, u := range l.upstreams {
		for id := range u.history.newest() {
			// One that lives for 30 s has 20 s or more left when it is looked at.
			if ttl := l.sight.ttl[id]; ttl > ttlUnknown || 0 < ttl && ttl < ttlUnknown*2/3 {
				m.TTL[id] = int(math.Ceil(ttl.Seconds()))
			}
		}
	}
	if l.lastErr != nil {
		m.Error = l.lastErr.Error()
	}
	for _, u := range l.upstreams {
		v, ok := p.Guard[u.Name]
		if !ok {
			continue
		}
		if v.why == "" && u.history.heldSince.IsZero() {
			continue
		}
		h := hold{Since: u.history.heldSince, Why: v.why, Nodes: v.keptIDs()}
		if v.until.IsZero() {
			h.Since = time.Time{} // it has not begun to run
		}
		m.Held[u.Name] = h
	}
	l.memory = m
	text, err := json.Marshal(m)
	if err == nil && bytes.Equal(text, l.remembered) {
		return
	}
	if err == nil {
		err = writeState(memoryFile(l.cfg.StateDir), text)
	}
	if err == nil {
		l.remembered = text
	}
	l.say.change("holds", err, "can't remember what the guard holds: after a restart it begins anew", "what the guard holds is remembered again")
}
