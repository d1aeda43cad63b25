package pool

import (
	"net/netip"
	"time"
)

// Node is one application node as one look at Redis found it. Fields that hold foreign free text say so; print them
// only escaped.
type Node struct {
	ID         string     // always passes CheckID
	DataCenter string     // free text, at most 256 bytes
	Address    netip.Addr // what an agent of ours registered; the zero Addr for a Python node
	Port       uint16     // what an agent of ours registered; 0: none
	Weight     int        // 0 to MaxWeight, 1 unless registered; 0 means no traffic
	Labels     map[string]string
	Agent      string // version of our agent, from the heartbeat (or the hash once that is gone); "": a Python node
	Instance   string // which run of the agent it is

	Registered bool      // in nodes:all
	Active     bool      // in nodes:active
	Freeze     *Freeze   // the operator's freeze; nil: none
	IsFrozen   bool      // is_frozen in the hash: by an operator, by its own health, or by a Python tool
	SelfFreeze string    // why our agent froze itself, free text; "": it did not
	Left       bool      // our agent left in order, and did not come back
	Status     string    // for people only, free text
	Details    string    // for people only, free text; the reason of the last change
	Updated    time.Time // the hash's timestamp, by the writer's clock
	Rev        int64     // revision of the last change of ours to this node; 0: none

	Alive   bool      // its heartbeat key lives
	Expires time.Time // when the heartbeat key goes, by our clock; zero: no TTL, or not alive
	Metrics Metrics   // of the last heartbeat
	Beat    time.Time // when the last heartbeat was sent, by the node's clock

	Fault      string // why the node is refused though it wants traffic; "": nothing wrong
	unreadable bool   // because of a key of a wrong type, so that its agent can't beat either
}

// Freeze is an operator's freeze.
type Freeze struct {
	By     string `json:"by"`
	At     string `json:"at"` // RFC 3339
	Reason string `json:"reason"`
}

// Metrics are the node's figures in a heartbeat, in percent of the whole machine, 0 to 100.
type Metrics struct {
	CPU    float64
	Memory float64
	Disk   float64
}

// MaxWeight is the largest weight that is believed; more is a fault of the node, so that no node takes all traffic.
const MaxWeight = 1000

// State is one word for people: what the pool says of a node.
type State string

// The states. A node is in the first of them whose condition holds; one with a key of a wrong type that is not frozen is Faulty.
const (
	Frozen    State = "frozen"    // frozen by an operator, or a frozen Python node
	Dead      State = "dead"      // its heartbeat has expired
	Unhealthy State = "unhealthy" // froze itself
	Inactive  State = "inactive"  // left, was cleaned up, or never became active
	Faulty    State = "faulty"    // something it registered, or a key of it, is refused; see Fault
	Active    State = "active"    // may get traffic
)

// State derives the node's state.
func (n *Node) State() State {
	switch {
	case n.Freeze != nil, n.IsFrozen && n.Agent == "":
		return Frozen
	case n.unreadable:
		return Faulty
	case !n.Alive && (n.Active || n.IsFrozen):
		return Dead
	case n.IsFrozen:
		return Unhealthy
	case !n.Active:
		return Inactive
	case n.Fault != "":
		return Faulty
	}
	return Active
}

// Wanted reports whether the node gets traffic as far as the pool is concerned: in nodes:active, not frozen in any
// way, its heartbeat alive, nothing refused. What is left to ask is its address.
func (n *Node) Wanted() bool { return n.State() == Active }

// Why is the reason that goes with the state, for people: the operator's, the agent's own, or the fault.
func (n *Node) Why() string {
	switch n.State() {
	case Frozen:
		if n.Freeze != nil {
			return n.Freeze.Reason
		}
		return n.Details
	case Unhealthy:
		if n.SelfFreeze != "" {
			return n.SelfFreeze
		}
		return n.Details
	case Dead:
		return "no heartbeat"
	case Faulty:
		return n.Fault
	}
	return ""
}
