package agent

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// Systemd is a Plugin for an application that is a systemd unit: start, stop, restart, update (a restart: systemd pulls
// nothing), logs (argument lines) and status.
type Systemd struct {
	Unit    string        // like app.service
	Timeout time.Duration // of one command; default 10 minutes

	path []string // where systemctl and journalctl are looked for; nil: searchPath
}

func (p *Systemd) String() string { return "systemd (" + p.Unit + ")" }

func checkUnit(unit string) error {
	if unit == "" || strings.HasPrefix(unit, "-") || strings.ContainsAny(unit, " \t\n/*?[") {
		return fmt.Errorf("unit: %q is not the name of one unit, like app.service", unit)
	}
	return nil
}

// Handlers returns the commands.
func (p *Systemd) Handlers() map[string]Handler {
	fixed := func(argv ...string) Handler {
		return func(ctx context.Context, _ pool.Command) (any, error) { return p.run(ctx, argv...) }
	}
	return map[string]Handler{
		"start":   fixed("systemctl", "start", "--", p.Unit),
		"stop":    fixed("systemctl", "stop", "--", p.Unit),
		"restart": fixed("systemctl", "restart", "--", p.Unit),
		"update":  fixed("systemctl", "restart", "--", p.Unit),
		"status":  fixed("systemctl", "status", "--no-pager", "--lines=10", "--", p.Unit),
		"logs": func(ctx context.Context, c pool.Command) (any, error) {
			n, err := linesAsked(c)
			if err != nil {
				return nil, err
			}
			return p.run(ctx, "journalctl", "--no-pager", "--lines="+strconv.Itoa(n), "--unit="+p.Unit)
		},
	}
}

func (p *Systemd) run(ctx context.Context, argv ...string) (any, error) {
	if err := checkUnit(p.Unit); err != nil {
		return nil, refuse("%v", err)
	}
	return sequence(ctx, p.path, "/", p.Timeout, argv)
}
