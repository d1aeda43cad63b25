package lbd

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/step"
)

// board is what the loop shows to others: a copy of its state, made at the end of each turn.
type board struct {
	mu     sync.Mutex
	status Status
	moved  time.Time // when the loop last came round, or a step of a turn ended
	deaf   error     // why no events are heard
	twin   error     // another lbd has our id
	broken error     // templates that can't be read
	unsaid error     // why redis does not take what is served
	unkept error     // what is served can't be remembered
	lacks  string    // in which way it is not known what Nginx does; "": it is known
}

// start is the first sign of life.
func (b *board) start(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status.ID, b.moved = id, time.Now()
}

// moves notes that the loop goes on.
func (b *board) moves() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.moved = time.Now()
}

// hears notes whether events are heard, and reports whether that changed.
func (b *board) hears(deaf error) (changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	changed = (b.deaf == nil) != (deaf == nil)
	b.deaf = deaf
	return changed
}

func (b *board) templates(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken = err
}

func (b *board) remembers(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unkept = err
}

func (b *board) acked(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unsaid = err
}

func (b *board) rival(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.twin = err
}

func (b *board) away(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status.Redis.Connected, b.status.Redis.Error = false, err.Error()
}

// looked puts up what a turn came to.
func (b *board) looked(l *LB, f *facts, p *Plan) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &b.status
	at := f.at.UTC()
	s.Redis = RedisStatus{Connected: true, LastLook: &at}
	s.Nodes, s.Quarantined = p.Nodes, p.Quarantined
	b.wants(l, p)
	s.Guard = GuardStatus{Nodes: p.heldIDs()}
	held := map[string][]string{}
	for name, v := range p.Guard {
		if v.why == "" {
			continue
		}
		held[name] = v.keptIDs()
		s.Guard.Why = append(s.Guard.Why, name+": "+v.why)
		if !v.until.IsZero() && (s.Guard.Until == nil || v.until.Before(*s.Guard.Until)) {
			s.Guard.Until = new(v.until.UTC())
		}
	}
	if s.Guard.Held = len(held) > 0; s.Guard.Held {
		s.Guard.Hash = hashOfHeld(held)
	}
	slices.Sort(s.Guard.Why)
}

// stood puts up what a turn came to that could not look at the pool.
func (b *board) stood(l *LB, p *Plan) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wants(l, p)
	if b.status.Nodes != nil {
		return // as they were seen last
	}
	for _, u := range l.upstreams {
		for _, server := range p.Sets[u.Name] {
			b.status.Nodes = append(b.status.Nodes, NodeStatus{ID: server.ID, Address: server.Addr.Addr().String(), Port: server.Addr.Port(), Weight: server.Weight,
				DataCenter: string(server.DataCenter), Labels: map[string]string{}, State: string(pool.Active), Stale: true, Why: "as served last: the pool was not looked at yet"})
		}
	}
}

// wants puts up what the plan is, and what keeps it from being what the pool asks for.
func (b *board) wants(l *LB, p *Plan) {
	s := &b.status
	s.Rev, s.Resolvers, s.Wanted = l.rev, l.chain.Names(), l.wanted.N
	s.Engine.Name, s.Engine.Why, s.Engine.ByReload = l.chosen.name(), l.chosen.why, map[string]string{}
	if s.Engine.NextTry = nil; l.chosen.kind == nil && !l.chosen.retry.next.IsZero() {
		s.Engine.NextTry = new(l.chosen.retry.next.UTC())
	}
	for _, u := range l.upstreams {
		if u.byReload != "" {
			s.Engine.ByReload[u.Name] = u.byReload
		}
	}
	if p.hash != l.wanted.Hash {
		s.Wanted++ // it waits for its turn
	}
	if s.Pinned = nil; p.Pinned != nil {
		s.Pinned = new(PinStatus(*p.Pinned))
	}
	s.Problems = nil
	if l.lastErr != nil {
		s.Problems = strings.Split(l.lastErr.Error(), "\n")
	}
}

// note puts up an apply that did something or failed.
func (l *LB) note(p *Plan, out Outcome, err error, took time.Duration) {
	b := &l.board
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &b.status
	if out.Changed && !out.Live {
		s.Written = l.wanted.N // also when the reload is not proven
	}
	if err == nil {
		if !out.Live {
			s.Written = l.wanted.N
		}
		if s.Running = 0; out.Running {
			s.Running = l.wanted.N
		}
	} else if out.Foreign {
		s.Running = 0
	}
	if !out.Changed && !out.Reloaded && err == nil {
		return
	}
	now := time.Now().UTC()
	s.LastApply = ApplyStatus{At: &now, Step: step.Verify, DurationMS: float64(took.Microseconds()) / 1000}
	if err == nil && !out.Running {
		s.LastApply.Step = step.Install
	}
	if err != nil {
		s.LastApply.Step, s.LastApply.Error = step.Of(err), err.Error()
	}
}

func (b *board) nginx(state State, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status.Nginx = NginxStatus{Running: state.Up(), Unseen: state.Unseen, Master: state.Master, Workers: state.Workers, Draining: state.Draining,
		OldGenerations: state.Former, ShutdownTimeout: state.ShutdownTimeout.Seconds(), Error: state.Why}
	if !state.DrainingSince.IsZero() {
		b.status.Nginx.DrainingSince = new(state.DrainingSince.UTC())
	}
	how, why := state.lacks(err)
	if b.lacks = how; why != nil {
		b.status.Nginx.Error = why.Error()
	}
	if !state.Up() {
		b.status.Running = 0
	}
	b.status.Engine.saw(state)
	if state.Live != "" {
		b.status.Written = state.Written
	}
}

// trouble is what is wrong beside what the loop's turns come to; "" for nothing.
func (b *board) trouble() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.broken != nil:
		return b.broken.Error()
	case b.deaf != nil:
		return "no events are heard: " + b.deaf.Error()
	case b.unkept != nil:
		return b.unkept.Error()
	}
	return ""
}

// read returns what is shown, with the problems of the moment, and how long ago the loop last came round.
func (b *board) read(cfg *Config) (s Status, since time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s = b.status
	s.Problems = slices.Clone(s.Problems)
	add := func(text string) { s.Problems = append(s.Problems, text) }
	switch look := s.Redis.LastLook; {
	case !s.Redis.Connected && s.Redis.Error == "":
		add("the pool was not looked at yet")
	case !s.Redis.Connected:
		add(s.Redis.Error)
	case look != nil && time.Since(*look) > 2*cfg.Timing.Resync+lookTimeout:
		add("the last look at redis is too old")
	}
	for _, err := range []error{b.twin, b.broken} {
		if err != nil {
			add(err.Error())
		}
	}
	if s.Engine.Behind != "" {
		add("the files on disk are behind what nginx serves live: " + s.Engine.Behind)
	}
	if b.unsaid != nil {
		add("can't say in redis what is served: " + b.unsaid.Error())
	}
	if b.unkept != nil {
		add(b.unkept.Error())
	}
	if s.Redis.Events = b.deaf == nil; b.deaf != nil {
		add("no events are heard, changes are seen at each resync: " + b.deaf.Error())
	}
	switch {
	case b.lacks != "":
		add(b.lacks + ": " + s.Nginx.Error)
	case !s.Nginx.Running:
		add("nginx was not looked at yet")
	case s.Running != s.Wanted:
		add("nginx does not serve what is wanted yet")
	}
	for _, why := range s.Guard.Why {
		add("held: " + why)
	}
	// Lists, not null, for those who read them with a program.
	s.Nodes, s.Quarantined, s.Resolvers, s.Problems = list(s.Nodes), list(s.Quarantined), list(s.Resolvers), list(s.Problems)
	s.Guard.Nodes, s.Guard.Why = list(s.Guard.Nodes), list(s.Guard.Why)
	return s, time.Since(b.moved)
}

// list is s, and empty instead of nil. It is no copy: what is on the board is replaced, never changed.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
