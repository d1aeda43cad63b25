package agent

import (
	"context"
	"maps"

	"github.com/bazbeans/bazbeans/pool"
)

// ownHandlers are the commands that every agent knows.
func (a *Agent) ownHandlers() map[string]Handler {
	all := map[string]Handler{
		"exec":         a.exec,
		"deploy_file":  a.deployFile,
		"freeze":       a.freeze,
		"unfreeze":     a.unfreeze,
		"health_check": a.healthCheck,
	}
	maps.Copy(all, serviceCommands{a}.Handlers())
	return all
}

// freeze is the operator's.
func (a *Agent) freeze(ctx context.Context, c pool.Command) (any, error) {
	reason := c.Text("reason")
	if reason == "" {
		reason = "frozen by command"
	}
	ch, err := a.pool.FreezeQueued(ctx, a.cfg.NodeID, sender(c), reason)
	return changed{ch.Changed, ch.Rev, ch.Own}, err
}

func (a *Agent) unfreeze(ctx context.Context, c pool.Command) (any, error) {
	ch, err := a.pool.UnfreezeQueued(ctx, a.cfg.NodeID, sender(c))
	return changed{ch.Changed, ch.Rev, ch.Own}, err
}

// changed is the result of freeze and unfreeze.
type changed struct {
	Changed bool   `json:"changed"`
	Rev     int64  `json:"rev"`
	Stays   string `json:"stays_frozen,omitempty"` // the node's own reason, which an unfreeze leaves in place
}

func sender(c pool.Command) string {
	if c.By == "" {
		return "queue" // the Python CLI does not say
	}
	return c.By
}

// report is the result of health_check.
type report struct {
	Healthy bool              `json:"healthy"`
	Reason  string            `json:"reason,omitempty"`
	CPU     float64           `json:"cpu_percent"` // of the last sample
	Memory  float64           `json:"memory_percent"`
	Disk    float64           `json:"disk_percent"`
	Checks  map[string]string `json:"checks,omitempty"` // see askAll
}

// healthCheck runs every check now; what they say counts as if it had been their time.
func (a *Agent) healthCheck(ctx context.Context, _ pool.Command) (any, error) {
	said := a.checks.askAll(ctx)
	m, reason := a.health.metrics(), a.health.reason()
	return report{Healthy: reason == "", Reason: reason, CPU: m.CPU, Memory: m.Memory, Disk: m.Disk, Checks: said}, nil
}
