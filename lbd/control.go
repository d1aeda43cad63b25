package lbd

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"time"
)

// What an operator on this host tells a running lbd stands in two files of state_dir, which only lbd's own user and root
// may write: never in Redis, for whoever lies there could approve his lie.

// approval says that nodes that the guard keeps may go.
type approval struct {
	Hash  string              `json:"hash"`  // of Nodes, for people: see hashOfHeld
	Nodes map[string][]string `json:"nodes"` // by upstream
	By    string              `json:"by"`
	Until time.Time           `json:"until"`
}

// approvalHolds is for how long an approval is good.
const approvalHolds = 5 * time.Minute

// of returns what is approved of an upstream: which nodes may go, and whether it was named at all. An approval covers
// less than it names, and never more: when further nodes go, an operator has to look again.
func (a *approval) of(upstream string, now time.Time) (nodes func(id string) bool, named bool) {
	if a == nil || now.After(a.Until) || a.Until.Sub(now) > approvalHolds {
		return func(string) bool { return false }, false
	}
	list, named := a.Nodes[upstream]
	ids := make(map[string]bool, len(list))
	for _, id := range list {
		ids[id] = true
	}
	return func(id string) bool { return ids[id] }, named
}

// hashOfHeld names what the guard holds, in twelve hexadecimal digits.
func hashOfHeld(held map[string][]string) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(held)) {
		fmt.Fprintf(h, "%q %q\n", name, held[name])
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// pin says that a kept generation is to be served, whatever the pool says, until it is ended.
type pin struct {
	Generation int64     `json:"generation"`
	By         string    `json:"by"`
	At         time.Time `json:"at"`
}

// number is the generation that p is about; 0 for none.
func (p *pin) number() int64 {
	if p == nil {
		return 0
	}
	return p.Generation
}

func (p *pin) String() string {
	return fmt.Sprintf("generation %d is pinned by %s since %s: what changes in the pool is not applied (lbd rollback --end ends it)",
		p.Generation, p.By, p.At.UTC().Format(time.RFC3339))
}

// control is one of the two files, read again when it changed.
type control[T any] struct {
	path   string
	seen   os.FileInfo // of what was read; nil: there was none
	unread bool        // what is there could not be read: each turn tries again
}

// changed reports whether the file is another than the one that was read; a look at it costs one system call.
func (c *control[T]) changed() bool {
	now, err := os.Stat(c.path)
	if err != nil {
		return c.seen != nil
	}
	return c.seen == nil || !os.SameFile(now, c.seen) || !now.ModTime().Equal(c.seen.ModTime())
}

// read returns what the file says, nil when there is none.
func (c *control[T]) read() (*T, error) {
	info, _ := os.Stat(c.path) // before it is read: a change meanwhile is read the next time
	text, err := os.ReadFile(c.path)
	if c.unread = err != nil; errors.Is(err, os.ErrNotExist) {
		c.seen, c.unread = nil, false
		return nil, nil
	}
	c.seen = info
	if err != nil {
		return nil, fmt.Errorf("%w (it has to be lbd's user's, or remove it)", err)
	}
	v := new(T)
	if err := json.Unmarshal(text, v); err != nil {
		return nil, fmt.Errorf("%s: %w (remove it)", c.path, err)
	}
	return v, nil
}

func (c *control[T]) write(v *T) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", c.path, err)
	}
	if err := writeState(c.path, text); err != nil {
		return fmt.Errorf("%w (run it as root or as lbd's user)", err)
	}
	return nil
}

func (c *control[T]) remove() error { return os.Remove(c.path) }

func approvalFile(stateDir string) *control[approval] {
	return &control[approval]{path: filepath.Join(stateDir, "approve.json")}
}

func pinFile(stateDir string) *control[pin] {
	return &control[pin]{path: filepath.Join(stateDir, "pin.json")}
}

// controls reads what an operator has said since.
func (l *LB) controls() {
	if l.approvals.changed() || l.approvals.unread {
		a, err := l.approvals.read()
		l.say.change("approval", err, "an approval can't be read: it does not count", "no approval is in the way any more")
		if a != nil && time.Now().After(a.Until) {
			_ = l.approvals.remove() // it is over; another try comes with the next start
			a = nil
		}
		if l.approval = a; a != nil {
			l.log.Info("an operator approved that nodes go", "by", a.By, "hash", a.Hash, "nodes", a.Nodes)
		}
	}
	if l.pins.changed() || l.pins.unread {
		p, err := l.pins.read()
		if err != nil && p == nil {
			p = &pin{By: "somebody"} // it says that nothing is to change, if nothing else
		}
		l.say.change("pin", err, "a pin can't be read: what is served stays", "the pin can be read")
		switch l.pin = p; {
		case err != nil:
		case p != nil:
			l.log.Warn(p.String())
		default:
			l.log.Info("no generation is pinned any more")
		}
	}
}

// putPin makes p the plan of the pinned generation, if one is.
func (l *LB) putPin(p *Plan) {
	if l.pin == nil {
		return
	}
	p.Pinned, p.Complete = l.pin, false
	g, err := l.archive.get(l.pin.Generation)
	if err == nil {
		err = errors.Join(g.covers(l.cfg.Upstreams), g.asks(l.chosen.answers()))
	}
	if p.lacking = err != nil; p.lacking {
		p.Errors = append(p.Errors, fmt.Errorf("what is pinned can't be had, and what is served stays: %w", err))
		if l.last == nil {
			p.Files, p.Sets = nil, nil // whatever it is
			p.hash = hashOf(nil)
			return
		}
		l.putLast(p)
		return
	}
	g.put(p, l.upstreams)
}

// told reports whether an operator has said something that was not read yet.
func (l *LB) told() bool { return l.approvals.changed() || l.pins.changed() }

// invoker names who runs a command on this host: no binary of ours asks the environment.
func invoker() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}
