package agent

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"time"
)

// checks are the health checks of an agent. Each runs in a goroutine of its own at its own interval, never twice at a
// time, so that none holds up another or the heartbeat; each may be asked out of its turn.
type checks struct {
	log     *slog.Logger
	health  *health
	changed chan struct{} // of one: set is not what runs

	mu      sync.Mutex
	set     map[string]*check
	running bool
}

// check is one of them.
type check struct {
	*bounded[struct{}]
	judge    *judge
	interval time.Duration
	of       *Check        // where it is from; nil: from the program
	answered chan struct{} // closed at its first answer
	once     sync.Once
}

func newChecks(log *slog.Logger, h *health) *checks {
	return &checks{log: log, health: h, changed: make(chan struct{}, 1), set: map[string]*check{}}
}

// put adds a check, in place of the one of that name. t is whole; of is where it is from, nil for a program's.
func (c *checks) put(name string, look probe, t Timing, of *Check) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := &check{judge: &judge{fall: t.Fall, rise: t.Rise}, interval: time.Duration(t.Interval), of: of, answered: make(chan struct{})}
	k.bounded = newBounded(c.log, "check "+name, time.Duration(t.Timeout), func(ctx context.Context) (struct{}, error) {
		return struct{}{}, look(ctx)
	})
	c.set[name] = k
	c.health.watch(name, k.judge, c.running)
	c.wake()
}

// replace makes the config's checks these. Those that are as they were go on as if nothing had happened, and the
// program's own stay.
func (c *checks) replace(list []Check, probes []probe, interval Duration) {
	wanted := map[string]bool{}
	for i := range list {
		of := list[i]
		of.Timing = of.Timing.or(interval, fall, rise)
		wanted[of.Name] = true
		c.mu.Lock()
		was := c.set[of.Name]
		c.mu.Unlock()
		if was == nil || was.of != nil && !reflect.DeepEqual(*was.of, of) {
			c.put(of.Name, probes[i], of.Timing, &of)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, k := range c.set {
		if k.of != nil && !wanted[name] {
			delete(c.set, name)
			c.health.watch(name, nil, false)
		}
	}
	c.wake()
}

func (c *checks) wake() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// copied is the set as it is now.
func (c *checks) copied() map[string]*check {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.set)
}

// run runs the checks until ctx ends.
func (c *checks) run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	stops := map[*check]context.CancelFunc{}
	for {
		set := c.copied()
		for k, stop := range stops {
			if !slices.Contains(slices.Collect(maps.Values(set)), k) {
				stop()
				delete(stops, k)
			}
		}
		for name, k := range set {
			if stops[k] == nil {
				one, stop := context.WithCancel(ctx)
				stops[k] = stop
				running.Go(func() { c.keepAsking(one, name, k, len(set)) })
			}
		}
		select {
		case <-ctx.Done():
			return // and all that hang on it
		case <-c.changed:
		}
	}
}

// spread is the most that the first run of each check waits for, so that not all begin at once.
const spread = 20 * time.Millisecond

// keepAsking runs a check: nearly at once, since the node waits for it, then at its interval, the first of which is cut
// at random, so that checks of one agent, and agents that were started together, do not go in step.
func (c *checks) keepAsking(ctx context.Context, name string, k *check, others int) {
	wait := rand.N(min(k.interval, time.Duration(others)*spread))
	for turn := 0; ; turn++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		began := time.Now()
		c.ask(ctx, name, k)
		wait = k.interval
		if turn == 0 {
			wait = k.interval/2 + rand.N(k.interval/2)
		}
		wait = max(0, wait-time.Since(began))
	}
}

// ask runs one check and judges its answer.
func (c *checks) ask(ctx context.Context, name string, k *check) error {
	_, err := k.call(ctx)
	if ctx.Err() == nil {
		if err != nil {
			c.log.Debug("check failed", "check", name, "error", err)
		}
		c.health.result(name, k.judge, err)
		k.once.Do(func() { close(k.answered) })
	}
	return err
}

// askAll runs every check now and returns what each said: "ok" or the error, and how far one is that must come back.
func (c *checks) askAll(ctx context.Context) map[string]string {
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		said = map[string]string{}
	)
	for name, k := range c.copied() {
		wg.Go(func() {
			answer := "ok"
			if err := c.ask(ctx, name, k); err != nil {
				answer = err.Error()
			} else if p := c.health.progress(k.judge); p != "" {
				answer += ", " + p
			}
			mu.Lock()
			defer mu.Unlock()
			said[name] = answer
		})
	}
	wg.Wait()
	return said
}

// firstMost is how long a node waits for the first answers of its checks before it registers as one that is not well.
const firstMost = 6 * time.Second

// awaitFirst returns when every check has answered once, or after firstMost. From then on a check that is added does
// not freeze the node before it has failed.
func (c *checks) awaitFirst(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstMost)
	defer cancel()
	for _, k := range c.copied() {
		select {
		case <-k.answered:
		case <-ctx.Done():
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = true
}
