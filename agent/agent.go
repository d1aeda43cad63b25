package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// registry is what the agent needs of the pool; *pool.Pool says what each call promises.
type registry interface {
	Node(ctx context.Context, id string) (*pool.Node, error)
	Register(ctx context.Context, reg pool.Registration, sick string) (member, pool.Standing, error)
	LBs(ctx context.Context) ([]pool.LB, error)
	Watch(ctx context.Context, fn func(pool.Wake)) error
	WaitDrained(ctx context.Context, rev int64, ids []string, report func([]pool.Blocker)) error
	FreezeQueued(ctx context.Context, id, by, reason string) (pool.Change, error)
	UnfreezeQueued(ctx context.Context, id, by string) (pool.Change, error)
	queue
}

// member is the node's own place in the pool; see *pool.Member.
type member interface {
	Heartbeat(ctx context.Context, m pool.Metrics) (pool.Standing, error)
	SetHealth(ctx context.Context, sick string) (pool.Standing, error)
	Update(reg pool.Registration) error
	Leave(ctx context.Context, reason string) error
}

// inRedis is the registry that *pool.Pool is, but for the type of its member.
type inRedis struct{ *pool.Pool }

func (p inRedis) Register(ctx context.Context, reg pool.Registration, sick string) (member, pool.Standing, error) {
	return p.Pool.Register(ctx, reg, sick)
}

// Limits of time.
const (
	callMost    = 3 * time.Second        // of one call to Redis
	sampleLimit = 500 * time.Millisecond // of one sample: a disk that hangs holds no heartbeat up longer
	stopLimit   = 3 * time.Second        // of what still runs after the node has left
)

// Agent is one node's agent. Add checks and handlers before Run; none of these calls is safe beside it.
type Agent struct {
	cfg       Config                 // as it was at the start
	now       atomic.Pointer[Config] // as it is in force
	log       *slog.Logger
	pool      registry
	close     func() error
	where     string // of Redis, for messages
	locate    func(context.Context) (netip.Addr, error)
	atHome    func(netip.Addr) bool // whether this machine has that address
	instance  string                // the tail of our instance's name
	callLimit time.Duration
	health    *health
	sampler   *bounded[pool.Metrics]
	checks    *checks
	handlers  map[string]Handler
	rules     atomic.Pointer[rules] // what commands may do, as it is in force
	state     state
	path      []string // where programs of commands are looked for; nil: searchPath
	outage    outage
	heard     chan int64    // of one: the revision of a freeze or unfreeze that an event told of
	hurry     chan struct{} // closed: leave without a drain
	hurryOnce sync.Once
	ran       atomic.Bool
}

// New checks cfg and returns an agent. It starts nothing and opens no connection.
func New(cfg Config) (*Agent, error) {
	probes, err := cfg.check()
	if err != nil {
		return nil, err
	}
	p, err := pool.Open(cfg.Redis)
	if err != nil {
		return nil, err
	}
	if cfg.Address == "" {
		if err := addressless(p.Where()); err != nil {
			p.Close()
			return nil, err
		}
	}
	a := newAgent(cfg, probes, inRedis{p})
	a.close, a.where = p.Close, p.Where()
	a.locate = func(ctx context.Context) (netip.Addr, error) {
		addr, err := sourceTo(ctx, p.Where())
		var wrong *cli.Error
		if err != nil && !errors.As(err, &wrong) {
			err = p.Explain(err)
		}
		return addr, err
	}
	return a, nil
}

func newAgent(cfg Config, probes []probe, p registry) *Agent {
	cfg.Labels = maps.Clone(cfg.Labels)
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Sampler == nil {
		cfg.Sampler = (&system{dir: cfg.AppDir}).sample
	}
	log := cfg.Log.With("node", cfg.NodeID)
	host, _ := os.Hostname()
	a := &Agent{
		cfg: cfg, log: log, pool: p, close: func() error { return nil }, atHome: atHome,
		// The end tells apart two containers that have the same host name and process id.
		instance:  fmt.Sprintf("%s:%d:%s", host, os.Getpid(), rand.Text()[:6]),
		callLimit: min(callMost, max(time.Second, time.Duration(cfg.HeartbeatTTL)/4)),
		health:    newHealth(log, &cfg),
		sampler:   newBounded(log, "sampler", sampleLimit, cfg.Sampler),
		outage:    outage{log: log, what: "heartbeats"},
		heard:     make(chan int64, 1),
		hurry:     make(chan struct{}),
	}
	a.now.Store(&cfg)
	a.rules.Store(cfg.rules)
	a.checks = newChecks(log, a.health)
	a.checks.replace(cfg.Checks, probes, cfg.HeartbeatInterval)
	a.handlers = a.ownHandlers()
	return a
}

// HealthCheck adds a check, in place of one of that name. A node gets no traffic before it has passed once, and none
// from timing's Fall errors in a row (by default from the first) until Rise answers in a row are nil (by default one; see
// Timing, of which at most one is given). Its ctx ends when its time is over. A panic is an error.
func (a *Agent) HealthCheck(name string, check func(ctx context.Context) error, timing ...Timing) {
	t := Timing{}
	if len(timing) > 0 {
		t = timing[0]
	}
	a.checks.put(name, check, t.or(a.cfg.HeartbeatInterval, 1, 1), nil)
}

// settings are those in force: the ones of the start, with what Reload changed since.
func (a *Agent) settings() *Config { return a.now.Load() }

// registration is what the node says of itself.
func (a *Agent) registration(address netip.Addr) pool.Registration {
	c := a.settings()
	reg := pool.Registration{ID: a.cfg.NodeID, DataCenter: c.DataCenter, Address: address, Port: c.NodePort, Weight: c.Weight,
		Labels: c.Labels, Agent: cli.Version(), Instance: a.instance, TTL: time.Duration(c.HeartbeatTTL), Commands: a.commandTypes()}
	if a.state.own != nil {
		reg.SealKey = a.state.own.Public().String()
	}
	return reg
}

// Run is the node's life: it blocks until ctx ends, then the node drains and leaves, and nil is returned when it could. A
// Redis that is away at the start or later is waited for. The error is a *pool.SupersededError when a newer agent has
// taken the id over. Run an agent once.
func (a *Agent) Run(ctx context.Context) error {
	if !a.ran.CompareAndSwap(false, true) {
		return errors.New("run agent: it has run before")
	}
	defer a.close()
	a.announce()
	if err := a.prepareState(); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()

	var running sync.WaitGroup
	running.Go(func() { a.checks.run(ctx) })
	a.cfg.Notify.Ready() // not later: a unit must not fail because Redis is away
	a.checks.awaitFirst(ctx)
	b := beater{a: a, memory: newMemory(a.state.dir, a.cfg.NodeID)}
	err := b.join(ctx)
	if err == nil && b.m != nil {
		running.Go(func() { a.takeCommands(ctx) })
		running.Go(func() { a.hear(ctx) })
		err = b.run(ctx)
		a.cfg.Notify.Stopping()
		// First out of traffic, then all else: what still runs may take a second.
		if err == nil {
			err = b.drain(ctx)
		}
		stop()
		if err == nil {
			err = b.leave(ctx)
		}
	}
	stop()
	a.await(&running)
	return err
}

// announce says once what this agent is about to be.
func (a *Agent) announce() {
	c := a.cfg
	address := c.Address
	if address == "" {
		address = "as redis sees it"
	}
	a.log.Info("agent starts", "address", address, "port", c.NodePort, "redis", a.where,
		"cpu_threshold", c.CPUThreshold, "memory_threshold", c.MemoryThreshold, "version", cli.Version())
	if c.HeartbeatTTL < 2*c.HeartbeatInterval {
		a.log.Warn("heartbeat_ttl is less than twice heartbeat_interval: one heartbeat that is late takes this node out of traffic",
			"heartbeat_ttl", c.HeartbeatTTL.String(), "heartbeat_interval", c.HeartbeatInterval.String())
	}
}

// await waits for what still runs, but not for ever: a handler may not heed its ctx.
func (a *Agent) await(running *sync.WaitGroup) {
	ended := make(chan struct{})
	go func() {
		running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(stopLimit):
		a.log.Warn("a command, or the wait for one, goes on after the agent's end", "waited", stopLimit)
	}
}
