package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// beater holds the node's place in the pool: one goroutine does all that is written about the node itself.
type beater struct {
	a       *Agent
	memory  *memory
	reg     pool.Registration
	m       member
	looked  bool       // at what an earlier run of the agent left
	unsure  bool       // the last try to register has had no answer: it may be carried out yet
	told    string     // the reason to be frozen that the member was last told
	active  bool       // as Redis said last
	rev     int64      // of the node's last change, as Redis said last
	state   string     // what was last logged of the node's standing
	sampled bool       // the next sample has an interval behind it
	blind   bool       // the last sample failed, and that is logged
	kept    netip.Addr // an address that there is no better one for, and that is logged
	until   time.Time  // once it ends: how long it tries to drain and to leave
}

// join registers, as soon as Redis lets it. A nil member without an error means that ctx has ended before.
func (b *beater) join(ctx context.Context) error {
	a := b.a
	if err := b.memory.load(); err != nil {
		a.log.Warn("what the agent remembered is lost", "error", err)
	}
	for ctx.Err() == nil {
		err := b.register(ctx)
		a.cfg.Notify.Alive()
		if err == nil {
			return nil
		}
		var wrong *cli.Error
		if errors.As(err, &wrong) {
			return err
		}
		if ctx.Err() != nil {
			break
		}
		a.outage.failed(err)
		a.cfg.Notify.Status("not registered: redis fails")
		select {
		case <-ctx.Done():
		case <-time.After(a.outage.pause(time.Duration(a.cfg.HeartbeatTTL))):
		}
	}
	if b.unsure {
		// What is not answered may be carried out: then the node is to leave.
		return b.register(context.WithoutCancel(ctx))
	}
	return nil
}

func (b *beater) register(ctx context.Context) error {
	address, err := b.a.address(ctx)
	if err != nil {
		return err
	}
	if err := b.look(ctx); err != nil {
		return err
	}
	// The agent's end does not cut it short: a node that is registered has to leave.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.a.callLimit)
	defer cancel()
	reg := b.a.registration(address)
	b.reg = reg
	if b.memory.freeze != nil {
		reg.Freeze, reg.FreezeRev = b.memory.freeze, b.memory.rev
	} else if b.a.cfg.Start == StartFrozen {
		reg.Freeze = &pool.Freeze{By: "agent --start", At: time.Now().UTC().Format(time.RFC3339), Reason: "started frozen"}
	}
	sick := b.a.health.reason()
	m, st, err := b.a.pool.Register(ctx, reg, sick)
	if b.unsure = err != nil && ctx.Err() != nil; err != nil {
		return err
	}
	b.m, b.told = m, sick
	b.a.outage.over()
	b.a.log.Info("registered", "address", reg.Address, "port", reg.Port, "rev", st.Rev)
	b.note(st)
	return nil
}

// look takes over, once, what an earlier run of the agent left in Redis.
func (b *beater) look(ctx context.Context) error {
	if b.looked {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, b.a.callLimit)
	defer cancel()
	n, err := b.a.pool.Node(ctx, b.a.cfg.NodeID)
	switch {
	case err == nil:
		b.a.health.inherit(n.SelfFreeze)
	case !errors.Is(err, pool.ErrNoSuchNode):
		return err
	}
	b.looked = true
	return nil
}

// run beats until ctx ends or a newer agent has the id. Heartbeats are due by a ticker, whatever else takes time.
func (b *beater) run(ctx context.Context) error {
	notify := b.a.cfg.Notify
	interval := time.Duration(b.a.settings().HeartbeatInterval)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	alive := time.NewTicker(cmp.Or(notify.Every()/2, time.Hour)) // the service manager may be in more of a hurry than Redis
	defer alive.Stop()
	retry := time.NewTimer(0) // the first at once: registering carries no metrics
	defer retry.Stop()
	b.sample(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-alive.C:
			notify.Alive()
			continue
		case <-tick.C:
			b.sample(ctx)
		case <-b.a.health.changed:
			if now := time.Duration(b.a.settings().HeartbeatInterval); now != interval {
				interval = now
				tick.Reset(now)
			}
			if !b.news() {
				continue
			}
		case rev := <-b.a.heard:
			if rev == b.rev {
				continue // it is our own word
			}
		case <-retry.C:
		}
		err := b.say(ctx)
		notify.Alive()
		var newer *pool.SupersededError
		switch {
		case err == nil:
			b.a.outage.over()
			retry.Stop()
		case errors.As(err, &newer):
			return err
		case ctx.Err() != nil:
			return nil
		default:
			b.a.outage.failed(err)
			notify.Status("redis fails since the last heartbeat; node was " + b.state)
			retry.Reset(b.a.outage.pause(b.reg.TTL))
		}
	}
}

// news reports whether Redis has not been told yet what the node is.
func (b *beater) news() bool {
	return b.a.health.reason() != b.told || !reflect.DeepEqual(b.a.registration(b.reg.Address), b.reg)
}

func (b *beater) sample(ctx context.Context) {
	m, err := b.a.sampler.call(ctx)
	if err != nil {
		if !b.blind && ctx.Err() == nil {
			b.a.log.Warn("no figures of this machine; heartbeats go on with the last ones", "error", err)
		}
		b.blind = true
		return
	}
	b.a.health.see(bounds(m), b.sampled)
	b.sampled, b.blind = true, false
}

// say tells Redis that the node lives, and whether it is well when that has changed.
func (b *beater) say(ctx context.Context) error {
	if err := b.relocate(ctx); err != nil {
		return err
	}
	st, err := b.tell(ctx)
	var newer *pool.SupersededError
	if errors.As(err, &newer) && strings.HasSuffix(newer.By, "/"+b.a.instance) {
		// It is ourselves: a try to register that timed out here was carried out there after the one that counted.
		return b.register(ctx)
	}
	if err == nil {
		b.note(st)
	}
	return err
}

func (b *beater) tell(ctx context.Context) (pool.Standing, error) {
	ctx, cancel := context.WithTimeout(ctx, b.a.callLimit)
	defer cancel()
	if reg := b.a.registration(b.reg.Address); !reflect.DeepEqual(reg, b.reg) {
		if err := b.m.Update(reg); err != nil {
			return pool.Standing{}, err
		}
		b.a.log.Info("registers anew", "port", reg.Port, "weight", reg.Weight, "data_center", reg.DataCenter, "labels", reg.Labels)
		b.reg = reg
	}
	if why := b.a.health.reason(); why != b.told {
		b.told = why // even if this fails: the member says it with its next heartbeat
		if st, err := b.m.SetHealth(ctx, why); err != nil {
			return st, err
		}
	}
	return b.m.Heartbeat(ctx, b.a.health.metrics())
}

// relocate looks at the address again before the first heartbeat after an outage: the network may be another. When the
// machine has lost the address there need not be an outage: the connection to Redis is renewed without a word.
func (b *beater) relocate(ctx context.Context) error {
	if b.a.cfg.Address != "" || !b.a.outage.on() && b.a.atHome(b.reg.Address) {
		return nil
	}
	addr, err := b.a.address(ctx)
	var unusable *cli.Error
	if errors.As(err, &unusable) {
		if b.kept != b.reg.Address {
			b.a.log.Warn("address kept", "address", b.reg.Address, "error", err)
		}
		b.kept = b.reg.Address
		return nil
	}
	if err == nil && addr != b.reg.Address {
		b.a.log.Info("address has changed", "address", addr, "was", b.reg.Address)
		b.reg.Address = addr
		return b.m.Update(b.reg)
	}
	return err
}

// note keeps what Redis says of the node, and logs it when it has changed.
func (b *beater) note(st pool.Standing) {
	b.active, b.rev = st.Active, st.Rev
	state := "active"
	switch {
	case st.Freeze != nil:
		state = fmt.Sprintf("frozen by %s: %s", st.Freeze.By, st.Freeze.Reason)
	case strings.HasPrefix(b.told, endReason):
		state = "draining"
	case b.told != "":
		state = "unhealthy: " + b.told
	case !st.Active:
		state = "inactive"
	}
	state = cli.Printable(state, 300)
	if st.New && b.state != "" {
		b.a.log.Warn("redis had lost this node: it is back", "operators_freeze", st.Freeze != nil, "rev", st.Rev)
	}
	if state != b.state {
		b.a.log.Info("node is "+state, "rev", st.Rev)
		b.state = state
	}
	b.a.cfg.Notify.Status("node is " + state)
	unkept := b.memory.unkept
	if err := b.memory.note(st.Freeze, st.Rev); err != nil && !unkept {
		b.a.log.Warn("a freeze is not kept: it will not outlive the agent and redis both", "error", err)
	}
}
