package lbd

import (
	"errors"
	"time"

	"github.com/bazbeans/bazbeans/lbd/nginx"
	"github.com/bazbeans/bazbeans/step"
)

// Status is the JSON of /status.
type Status struct {
	ID          string       `json:"id"`
	Rev         int64        `json:"rev"`     // of the last look that is served in full
	Wanted      int64        `json:"wanted"`  // generation that the pool asks for
	Written     int64        `json:"written"` // generation on disk
	Running     int64        `json:"running"` // generation that Nginx is proven to serve; 0: none
	Nodes       []NodeStatus `json:"nodes"`
	Quarantined []Quarantine `json:"quarantined"`
	Guard       GuardStatus  `json:"guard"`
	Pinned      *PinStatus   `json:"pinned"` // a generation that an operator went back to; null: none
	LastApply   ApplyStatus  `json:"last_apply"`
	Redis       RedisStatus  `json:"redis"`
	Nginx       NginxStatus  `json:"nginx"`
	Engine      EngineStatus `json:"engine"`
	Resolvers   []string     `json:"resolvers"`
	Problems    []string     `json:"problems"` // why it is not ready; empty: it is
}

// GuardStatus says what the guard keeps against the pool's word.
type GuardStatus struct {
	Held  bool       `json:"held"`
	Nodes []string   `json:"nodes"`
	Why   []string   `json:"why"`
	Hash  string     `json:"hash"`  // names what is held, for `lbd approve`; "": nothing is
	Until *time.Time `json:"until"` // when the guard looks anew by itself; null: only when the facts change
}

// PinStatus is a rollback in force.
type PinStatus struct {
	Generation int64     `json:"generation"`
	By         string    `json:"by"`
	At         time.Time `json:"at"`
}

// ApplyStatus is the last apply that did anything.
type ApplyStatus struct {
	At         *time.Time `json:"at"`   // null: none yet
	Step       step.Name  `json:"step"` // the last step it came to
	DurationMS float64    `json:"duration_ms"`
	Error      string     `json:"error"`
}

// RedisStatus is how lbd's last look went.
type RedisStatus struct {
	Connected bool       `json:"connected"`
	LastLook  *time.Time `json:"last_look"`
	Events    bool       `json:"events"` // they are heard; if not, changes are seen at each resync
	Error     string     `json:"error"`
}

// NginxStatus is what Nginx does right now.
type NginxStatus struct {
	Running         bool       `json:"running"`
	Master          int        `json:"master"`
	Unseen          bool       `json:"unseen"` // it answers at nginx.proof, but its processes can't be seen
	Workers         int        `json:"workers"`
	Draining        int        `json:"draining"`         // workers of former configurations that have not ended
	OldGenerations  int        `json:"old_generations"`  // how many configurations those are of
	DrainingSince   *time.Time `json:"draining_since"`   // of the oldest; null: none
	ShutdownTimeout float64    `json:"shutdown_timeout"` // worker_shutdown_timeout in seconds; 0: none, they live as long as their connections
	Error           string     `json:"error"`
}

// EngineStatus is how changes go into Nginx, and what a live engine knows.
type EngineStatus struct {
	Name     string            `json:"name"`      // reload, lua or resolve
	Why      string            `json:"why"`       // why not another; "": as the config says
	NextTry  *time.Time        `json:"next_try"`  // when lbd tries to go live again, at a SIGHUP sooner; null: it does not, or is
	ByReload map[string]string `json:"by_reload"` // upstreams that change by reloads though there is a live engine, and why
	Busy     map[string]int    `json:"busy"`      // by node: requests under way (lua) or connections (resolve); null: not counted
	Pending  string            `json:"pending"`   // why new requests may still go by an older set
	Behind   string            `json:"behind"`    // why the files on disk are not what is served live
	Trouble  string            `json:"trouble"`   // what went wrong inside Nginx last
}

func (e *EngineStatus) saw(s State) {
	e.Busy, e.Pending, e.Behind, e.Trouble = s.Busy, s.Pending, "", s.Trouble
	if s.Behind != nil && !errors.Is(s.Behind, nginx.ErrUnproven) {
		e.Behind = s.Behind.Error()
	}
}
