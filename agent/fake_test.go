package agent

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

// fakePool is a registry and its one member; it notes what it is told and when.
type fakePool struct {
	mu         sync.Mutex
	err        error         // of every call, while set
	newer      string        // instance of a newer agent; heartbeats are superseded
	freeze     *pool.Freeze  // the operator's
	hang       time.Duration // how long each call takes
	registered []pool.Registration
	sick       []string // what registering and SetHealth said, in order
	beats      []time.Time
	metrics    pool.Metrics
	addr       netip.Addr
	reg        pool.Registration // as last registered or updated
	left       []string
	fakeQueue
	events chan pool.Event
	known  *pool.Node // what Redis has of the node before it registers
	drain  func(context.Context, func([]pool.Blocker)) error
}

func newFakePool() *fakePool {
	return &fakePool{fakeQueue: newFakeQueue(), events: make(chan pool.Event)}
}

func (f *fakePool) set(fn func(*fakePool)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn(f)
}

func (f *fakePool) call(ctx context.Context, fn func()) (pool.Standing, error) {
	f.mu.Lock()
	hang := f.hang
	f.mu.Unlock()
	select {
	case <-time.After(hang):
	case <-ctx.Done():
		return pool.Standing{}, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return pool.Standing{}, f.err
	}
	if f.newer != "" {
		return pool.Standing{}, &pool.SupersededError{ID: "n1", By: f.newer}
	}
	fn()
	active := f.freeze == nil && (len(f.sick) == 0 || f.sick[len(f.sick)-1] == "")
	return pool.Standing{Active: active, Freeze: f.freeze, Rev: 1}, nil
}

func (f *fakePool) Register(ctx context.Context, reg pool.Registration, sick string) (member, pool.Standing, error) {
	f.set(func(f *fakePool) { f.newer = "" })
	st, err := f.call(ctx, func() {
		f.registered, f.sick, f.addr, f.reg = append(f.registered, reg), append(f.sick, sick), reg.Address, reg
	})
	return f, st, err
}

func (f *fakePool) Heartbeat(ctx context.Context, m pool.Metrics) (pool.Standing, error) {
	return f.call(ctx, func() { f.beats, f.metrics = append(f.beats, time.Now()), m })
}

func (f *fakePool) SetHealth(ctx context.Context, sick string) (pool.Standing, error) {
	return f.call(ctx, func() { f.sick = append(f.sick, sick) })
}

func (f *fakePool) Node(ctx context.Context, id string) (n *pool.Node, err error) {
	_, err = f.call(ctx, func() { n = f.known })
	if err == nil && n == nil {
		err = pool.ErrNoSuchNode
	}
	return n, err
}

func (f *fakePool) WaitDrained(ctx context.Context, rev int64, ids []string, report func([]pool.Blocker)) error {
	f.mu.Lock()
	wait := f.drain
	f.mu.Unlock()
	return wait(ctx, report)
}

func (f *fakePool) Watch(ctx context.Context, fn func(pool.Wake)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-f.events:
			fn(pool.Wake{Event: &e})
		}
	}
}

// LBs knows of one load balancer, once there is a drain to wait for.
func (f *fakePool) LBs(ctx context.Context) (lbs []pool.LB, err error) {
	_, err = f.call(ctx, func() {
		if f.drain != nil {
			lbs = make([]pool.LB, 1)
		}
	})
	return lbs, err
}

func (f *fakePool) Update(reg pool.Registration) error {
	f.set(func(f *fakePool) { f.addr, f.reg = reg.Address, reg })
	return nil
}

func (f *fakePool) Leave(ctx context.Context, reason string) error {
	_, err := f.call(ctx, func() { f.left = append(f.left, reason) })
	return err
}

func (f *fakePool) FreezeQueued(ctx context.Context, _, by, reason string) (pool.Change, error) {
	_, err := f.call(ctx, func() { f.freeze = &pool.Freeze{By: by, Reason: reason} })
	return pool.Change{Changed: true, Rev: 2}, err
}

func (f *fakePool) UnfreezeQueued(ctx context.Context, _, _ string) (pool.Change, error) {
	_, err := f.call(ctx, func() { f.freeze = nil })
	return pool.Change{Changed: true, Rev: 3}, err
}

// figures is a sampler that tells what it is set to.
type figures struct {
	mu sync.Mutex
	m  pool.Metrics
}

func (g *figures) set(cpu, memory float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.m = pool.Metrics{CPU: cpu, Memory: memory}
}

func (g *figures) sample(context.Context) (pool.Metrics, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.m, nil
}

// logged is a log that can be asked.
type logged struct{ serverstest.Transcript }

func (l *logged) count(text string) int { return strings.Count(l.String(), text) }

// site is an agent over doubles.
type site struct {
	t       *testing.T
	agent   *Agent
	pool    *fakePool
	machine *figures
	log     *logged
	ended   chan error
	cancel  context.CancelFunc
}

var errAway = &netError{"connection refused"}

type netError struct{ text string }

func (e *netError) Error() string { return e.text }
func (e *netError) Timeout() bool { return false }

// Temporary makes it a net.Error.
func (e *netError) Temporary() bool { return true }

func newSite(t *testing.T, change ...func(*Config)) *site {
	s := &site{t: t, pool: newFakePool(), machine: &figures{}, log: &logged{}, ended: make(chan error, 1)}
	cfg := Defaults()
	cfg.NodeID, cfg.Address, cfg.StateDir, cfg.Sampler = "n1", "10.0.0.1", "", s.machine.sample
	cfg.Log = slog.New(slog.NewTextHandler(s.log, nil))
	for _, c := range change {
		c(&cfg)
	}
	probes, err := cfg.check()
	if err != nil {
		t.Fatal(err)
	}
	s.agent = newAgent(cfg, probes, s.pool)
	return s
}

// after lets time pass and everybody come to rest.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// application adds the check "app", which fails while the switch is on.
func (s *site) application() (sick *atomic.Bool) {
	sick = new(atomic.Bool)
	s.agent.HealthCheck("app", func(context.Context) error {
		if sick.Load() {
			return errSick
		}
		return nil
	})
	return sick
}

func (s *site) start() {
	ctx, cancel := context.WithCancel(s.t.Context())
	s.cancel = cancel
	go func() { s.ended <- s.agent.Run(ctx) }()
}

// stop ends the agent and returns its error and how long that took.
func (s *site) stop() (time.Duration, error) {
	began := time.Now()
	s.cancel()
	err := <-s.ended
	return time.Since(began), err
}

// told is all that Redis was told of the node's health, joined by " > ".
func (s *site) told() string {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	return strings.Join(s.pool.sick, " > ")
}

func (s *site) wantTold(want string) {
	s.t.Helper()
	if got := s.told(); got != want {
		s.t.Errorf("redis was told %q, want %q", got, want)
	}
}

func (s *site) wantStop() {
	s.t.Helper()
	took, err := s.stop()
	if err != nil {
		s.t.Errorf("run: %v", err)
	}
	if took > time.Second {
		s.t.Errorf("the end took %v", took)
	}
	if len(s.pool.left) != 1 {
		s.t.Errorf("left %q, want once", s.pool.left)
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var errSick = errors.New("no answer from the application")
