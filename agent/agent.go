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
	Register(ctx context.Context, reg pool.Registration, sick string) (member, pool.Standing, error)
	FreezeQueued(ctx context.Context, id, by, reason string) (pool.Change, error)
	UnfreezeQueued(ctx context.Context, id, by string) (pool.Change, error)
	Take(ctx context.Context, id string, wait time.Duration) (pool.Command, bool, error)
	PutBack(ctx context.Context, id string, c pool.Command) error
	Report(ctx context.Context, id string, c pool.Command, details any) error
}

// member is the node's own place in the pool; see *pool.Member.
type member interface {
	Heartbeat(ctx context.Context, m pool.Metrics) (pool.Standing, error)
	SetHealth(ctx context.Context, sick string) (pool.Standing, error)
	SetAddress(a netip.Addr)
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
	checkMost   = 5 * time.Second        // of one health check
	sampleLimit = 500 * time.Millisecond // of one sample: a disk that hangs holds no heartbeat up longer
	stopLimit   = 3 * time.Second        // of what still runs after the node has left
)

// Agent is one node's agent. Add checks and handlers before Run; none of these calls is safe beside it.
type Agent struct {
	cfg       Config
	log       *slog.Logger
	pool      registry
	close     func() error
	where     string // of Redis, for messages
	locate    func(context.Context) (netip.Addr, error)
	instance  string // the tail of our instance's name
	callLimit time.Duration
	health    *health
	sampler   *bounded[pool.Metrics]
	checks    map[string]*bounded[struct{}]
	handlers  map[string]Handler
	outage    outage
	ran       atomic.Bool
}

// New checks cfg and returns an agent. It starts nothing and opens no connection.
func New(cfg Config) (*Agent, error) {
	if err := cfg.check(); err != nil {
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
	a := newAgent(cfg, inRedis{p})
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

func newAgent(cfg Config, p registry) *Agent {
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
		cfg: cfg, log: log, pool: p, close: func() error { return nil },
		// The end tells apart two containers that have the same host name and process id.
		instance:  fmt.Sprintf("%s:%d:%s", host, os.Getpid(), rand.Text()[:6]),
		callLimit: min(callMost, max(time.Second, time.Duration(cfg.HeartbeatTTL)/4)),
		health:    newHealth(cfg.CPUThreshold, cfg.MemoryThreshold),
		sampler:   newBounded(log, "sampler", sampleLimit, cfg.Sampler),
		checks:    map[string]*bounded[struct{}]{},
		outage:    outage{log: log, what: "heartbeats"},
	}
	a.handlers = a.ownHandlers()
	return a
}

// HealthCheck adds a check, in place of one of that name. It runs at every heartbeat interval, has that time to
// answer but 5 s at most (its ctx ends then), and freezes the node from an error until it returns nil. A panic is an
// error.
func (a *Agent) HealthCheck(name string, check func(ctx context.Context) error) {
	limit := min(checkMost, time.Duration(a.cfg.HeartbeatInterval))
	a.checks[name] = newBounded(a.log, "check "+name, limit, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, check(ctx)
	})
}

// Run is the node's life: it blocks until ctx ends, then the node leaves, and nil is returned when it could. A Redis
// that is away at the start or later is waited for. The error is a *pool.SupersededError when a newer agent has taken
// the id over. Run an agent once.
func (a *Agent) Run(ctx context.Context) error {
	if !a.ran.CompareAndSwap(false, true) {
		return errors.New("run agent: it has run before")
	}
	defer a.close()
	a.announce()
	ctx, stop := context.WithCancel(ctx)
	defer stop()

	// A node is not registered as well before its checks have said so.
	var first, running sync.WaitGroup
	for name := range a.checks {
		first.Go(func() { a.ask(ctx, name) })
	}
	first.Wait()
	for name := range a.checks {
		running.Go(func() { a.keepAsking(ctx, name) })
	}
	b := beater{a: a}
	err := b.join(ctx)
	if err == nil && b.m != nil {
		running.Go(func() { a.takeCommands(ctx) })
		err = b.run(ctx)
		// First out of traffic, then all else: what still runs may take a second.
		stop()
		err = b.leave(ctx, err)
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

// ask runs one check and judges its answer.
func (a *Agent) ask(ctx context.Context, name string) error {
	_, err := a.checks[name].call(ctx)
	if ctx.Err() == nil {
		a.health.result(name, err)
	}
	return err
}

func (a *Agent) keepAsking(ctx context.Context, name string) {
	tick := time.NewTicker(time.Duration(a.cfg.HeartbeatInterval))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			a.ask(ctx, name)
		}
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
