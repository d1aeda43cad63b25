package pool

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

var (
	beatScript  = script("beat.lua")
	leaveScript = script("leave.lua")
)

// Registration is what a node says of itself when it joins.
type Registration struct {
	ID         string
	DataCenter string            // default "default"
	Address    netip.Addr        // where load balancers send to; required
	Port       uint16            // 0: the load balancers' own setting
	Weight     int               // 0 to MaxWeight
	Labels     map[string]string // see CheckLabels
	Agent      string            // version of the agent; required, it tells ours from Python's
	Instance   string            // tail of the instance's name, for people: host and process
	TTL        time.Duration     // how long a heartbeat lives; default 30s
	Commands   []string          // types of commands that the node knows, for Capabilities
	SealKey    string            // line of a trust.SealKey; "": none
	Freeze     *Freeze           // the operator's freeze as it was last known: put back if Redis has lost it
	FreezeRev  int64             // Standing.Rev when Freeze was known: an older node tells a lost freeze from a lifted one; 0: not known
}

func (r *Registration) check() error {
	if err := CheckID(r.ID); err != nil {
		return err
	}
	if !r.Address.IsValid() || r.Address.Zone() != "" {
		return fmt.Errorf("node %s: no address to register", r.ID)
	}
	if r.Weight < 0 || r.Weight > MaxWeight {
		return fmt.Errorf("node %s: weight %d is not a number from 0 to %d", r.ID, r.Weight, MaxWeight)
	}
	if r.Agent == "" {
		return fmt.Errorf("node %s: the agent's version is missing", r.ID)
	}
	if r.DataCenter == "" {
		r.DataCenter = "default"
	}
	if len(r.DataCenter) > textMost {
		return fmt.Errorf("node %s: data center is longer than %d bytes", r.ID, textMost)
	}
	if r.TTL == 0 {
		r.TTL = 30 * time.Second
	}
	if r.TTL < time.Millisecond {
		return fmt.Errorf("node %s: heartbeat TTL %s is too short", r.ID, r.TTL)
	}
	r.Address = r.Address.Unmap()
	return CheckLabels(r.Labels)
}

// Member is this node's own place in the pool, held by its agent. Every call says the whole of what the node is, the
// operator's freeze that the call before found included, so that any heartbeat mends whatever Redis lost. It is safe for
// concurrent use.
type Member struct {
	p *Pool

	mu       sync.Mutex // held across a call: heartbeats and freezes go in one after another
	reg      Registration
	labels   string // of reg, as JSON
	instance string
	sick     string
	metrics  Metrics
	calls    int64 // how many there were: Redis carries out none after a later one
}

// Standing is what Redis says of the node after a call.
type Standing struct {
	Active bool
	Freeze *Freeze // the operator's; nil: none
	Rev    int64   // of the node's last change
	New    bool    // Redis did not know the node before this call: it is new, or Redis lost it
}

// Register makes the node a member, with its first heartbeat, and takes the id over from any older agent. sick is the
// node's own reason to be frozen from the start; "" makes it active, unless an operator froze it.
func (p *Pool) Register(ctx context.Context, reg Registration, sick string) (*Member, Standing, error) {
	if err := reg.check(); err != nil {
		return nil, Standing{}, err
	}
	m := &Member{p: p, reg: reg, labels: encodeLabels(reg.Labels), instance: reg.Instance, sick: cut(sick)}
	st, err := m.beat(ctx, true)
	if err != nil {
		return nil, Standing{}, err
	}
	return m, st, nil
}

// Heartbeat says that the node lives, for one TTL, and what its metrics are: one round trip. The error is a
// *SupersededError when a newer agent has the id.
func (m *Member) Heartbeat(ctx context.Context, metrics Metrics) (Standing, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.metrics = metrics
	return m.beat(ctx, false)
}

// SetHealth says why the node should get no traffic, or with "" that it is well. An operator's freeze stays.
// If Redis can't be reached the next heartbeat says it.
func (m *Member) SetHealth(ctx context.Context, sick string) (Standing, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sick = cut(sick)
	return m.beat(ctx, false)
}

// Update changes what the node registers, from the next call on: all of reg but ID, Agent, Instance and the freeze counts.
// On an error nothing changes.
func (m *Member) Update(reg Registration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	reg.ID, reg.Agent, reg.Instance = m.reg.ID, m.reg.Agent, m.reg.Instance
	reg.Freeze, reg.FreezeRev = m.reg.Freeze, m.reg.FreezeRev
	if err := reg.check(); err != nil {
		return err
	}
	m.reg, m.labels = reg, encodeLabels(reg.Labels)
	return nil
}

func encodeLabels(labels map[string]string) string {
	if len(labels) == 0 {
		return "{}"
	}
	b, _ := json.Marshal(labels) // a map of strings always encodes
	return string(b)
}

// Instance names this run of the agent: the revision at which it registered, a slash, and the tail it gave.
func (m *Member) Instance() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.instance
}

// Leave takes the node out of the pool in order: it is known, but gets no traffic and has no heartbeat.
func (m *Member) Leave(ctx context.Context, reason string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, id := m.p.keys, m.reg.ID
	m.calls++
	rfc, unix := stamp()
	r, err := m.p.run(ctx, "leave", leaveScript,
		[]string{k.active(), k.heartbeat(id), k.status(id), k.rev(), k.events(), k.frozen()},
		id, m.p.channel, rfc, unix, m.instance, cut(reason), m.calls)
	if err != nil {
		return m.p.Explain(err)
	}
	if r.word() == "superseded" {
		return &SupersededError{ID: id, By: r.at(1)}
	}
	return nil
}

func (m *Member) beat(ctx context.Context, claim bool) (Standing, error) {
	k, id := m.p.keys, m.reg.ID
	m.calls++
	rfc, unix := stamp()
	head, err := json.Marshal(map[string]any{
		"timestamp": json.Number(unix), "node_id": id, "data_center": m.reg.DataCenter,
		"cpu_percent": m.metrics.CPU, "memory_percent": m.metrics.Memory, "disk_percent": m.metrics.Disk,
		"agent": m.reg.Agent, "addr": m.reg.Address.String(),
	})
	if err != nil {
		return Standing{}, fmt.Errorf("encode heartbeat: %w", err)
	}
	commands, err := json.Marshal(m.reg.Commands)
	if err != nil {
		return Standing{}, fmt.Errorf("encode commands: %w", err)
	}
	freeze := ""
	if m.reg.Freeze != nil {
		b, _ := json.Marshal(m.reg.Freeze) // strings always encode
		freeze = string(b)
	}
	flag := "0"
	if claim {
		flag = "1"
	}
	r, err := m.p.run(ctx, "heartbeat", beatScript,
		[]string{k.all(), k.active(), k.frozen(), k.heartbeat(id), k.status(id), k.rev(), k.events(), k.nodeIPs()},
		id, m.p.channel, rfc, unix, flag, m.instance, m.reg.TTL.Milliseconds(), string(head[:len(head)-1]), m.sick,
		m.reg.DataCenter, m.reg.Address.String(), m.reg.Port, m.reg.Weight, m.labels, m.reg.Agent, string(commands), m.reg.SealKey, freeze, m.reg.FreezeRev, m.calls)
	if err != nil {
		return Standing{}, m.p.Explain(err)
	}
	switch r.word() {
	case "superseded":
		return Standing{}, &SupersededError{ID: id, By: r.at(1)}
	case "late":
		return Standing{}, fmt.Errorf("heartbeat: redis has carried out a later one of %s already", m.instance)
	}
	m.instance = r.at(1)
	st := Standing{Rev: r.rev(2), Active: r.at(3) == "1", New: r.at(5) == "1"}
	if op := r.at(4); op != "" {
		st.Freeze = decodeFreeze(map[string]string{id: op}, id)
	}
	m.reg.Freeze, m.reg.FreezeRev = st.Freeze, st.Rev
	return st, nil
}
