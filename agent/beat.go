package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// beater holds the node's place in the pool: one goroutine does all that is written about the node itself.
type beater struct {
	a       *Agent
	reg     pool.Registration
	m       member
	told    string // the reason to be frozen that the member was last told
	state   string // what was last logged of the node's standing
	sampled bool   // the next sample has an interval behind it
	blind   bool   // the last sample failed, and that is logged
}

// join registers, as soon as Redis lets it. A nil member without an error means that ctx has ended before.
func (b *beater) join(ctx context.Context) error {
	a := b.a
	b.reg = pool.Registration{ID: a.cfg.NodeID, DataCenter: a.cfg.DataCenter, Port: a.cfg.NodePort, Weight: a.cfg.Weight,
		Labels: a.cfg.Labels, Agent: cli.Version(), Instance: a.instance, TTL: time.Duration(a.cfg.HeartbeatTTL)}
	for ctx.Err() == nil {
		err := b.register(ctx)
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
		select {
		case <-ctx.Done():
		case <-time.After(a.outage.pause(b.reg.TTL)):
		}
	}
	return nil
}

func (b *beater) register(ctx context.Context) (err error) {
	if b.reg.Address, err = b.a.address(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, b.a.callLimit)
	defer cancel()
	sick := b.a.health.reason()
	m, st, err := b.a.pool.Register(ctx, b.reg, sick)
	if err != nil {
		return err
	}
	b.m, b.told = m, sick
	b.a.outage.over()
	b.a.log.Info("registered", "address", b.reg.Address, "port", b.reg.Port, "rev", st.Rev)
	b.note(st)
	return nil
}

// run beats until ctx ends or a newer agent has the id. Heartbeats are due by a ticker, whatever else takes time.
func (b *beater) run(ctx context.Context) error {
	tick := time.NewTicker(time.Duration(b.a.cfg.HeartbeatInterval))
	defer tick.Stop()
	retry := time.NewTimer(0) // the first at once: registering carries no metrics
	defer retry.Stop()
	b.sample(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			b.sample(ctx)
		case <-b.a.health.changed:
			if b.a.health.reason() == b.told {
				continue
			}
		case <-retry.C:
		}
		err := b.say(ctx)
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
			retry.Reset(b.a.outage.pause(b.reg.TTL))
		}
	}
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
	if b.a.outage.on() {
		if err := b.relocate(ctx); err != nil {
			return err
		}
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
	if why := b.a.health.reason(); why != b.told {
		b.told = why // even if this fails: the member says it with its next heartbeat
		if st, err := b.m.SetHealth(ctx, why); err != nil {
			return st, err
		}
	}
	return b.m.Heartbeat(ctx, b.a.health.metrics())
}

// relocate looks at the address again before the first heartbeat after an outage: the network may be another.
func (b *beater) relocate(ctx context.Context) error {
	if b.a.cfg.Address != "" {
		return nil
	}
	addr, err := b.a.address(ctx)
	var unusable *cli.Error
	if errors.As(err, &unusable) {
		b.a.log.Warn("address kept", "address", b.reg.Address, "error", err)
		return nil
	}
	if err == nil && addr != b.reg.Address {
		b.a.log.Info("address has changed", "address", addr, "was", b.reg.Address)
		b.reg.Address = addr
		return b.m.Update(b.reg)
	}
	return err
}

// note logs the node's standing when it has changed.
func (b *beater) note(st pool.Standing) {
	state := "active"
	switch {
	case st.Freeze != nil:
		state = fmt.Sprintf("frozen by %s: %s", st.Freeze.By, st.Freeze.Reason)
	case b.told != "":
		state = "unhealthy: " + b.told
	case !st.Active:
		state = "inactive"
	}
	if state != b.state {
		b.a.log.Info("node is "+cli.Printable(state, 300), "rev", st.Rev)
		b.state = state
	}
}

// leave ends the membership, once and within the limit of one call. err is why the beats ended: a node that a newer
// agent has is not ours to leave.
func (b *beater) leave(ctx context.Context, err error) error {
	if err != nil {
		return err
	}
	// ctx has ended: that is why we leave.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.a.callLimit)
	defer cancel()
	if err := b.m.Leave(ctx, "agent stopped"); err != nil {
		return fmt.Errorf("leave the pool: %w; the node gets traffic until its heartbeat expires, within %v", err, b.reg.TTL)
	}
	b.a.log.Info("left the pool")
	return nil
}
