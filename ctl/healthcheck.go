package ctl

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

func (s *session) healthCheckCmd() *cobra.Command {
	var o sending
	cmd := &cobra.Command{
		Use: "health-check NODE...", GroupID: act,
		Short: "Have nodes' agents run their health checks now.",
		Long: `It shows each check's answer. They count as if it had been their time: a node may freeze itself, or
come back.

` + sendingCodes,
		Example:           "  bbctl health-check web3\n  bbctl health-check --all --as deploy",
		ValidArgsFunction: s.completeNodes,
		PreRunE:           o.check,
	}
	cmd.RunE = s.onChoice(&o.choice, func(ctx context.Context, ids []string) error {
		return s.carry(ctx, &o, order{verb: "health check", kind: "health_check"}, ids, s.showHealth)
	})
	o.bind(s, cmd, 30*time.Second)
	return cmd
}

// healthReport is what an agent answers to health_check.
type healthReport struct {
	Healthy *bool             `json:"healthy"`
	Reason  string            `json:"reason"`
	Checks  map[string]string `json:"checks"`
}

// health says what a health check found. It was carried out; a node that is unwell is a failure all the same.
func (out outcome) health(report json.RawMessage) outcome {
	var r healthReport
	if err := json.Unmarshal(report, &r); err != nil || r.Healthy == nil {
		return out.fail(string(pool.Failed), "health check: the agent's answer can't be read")
	}
	if !*r.Healthy {
		return out.fail(string(pool.Failed), "unhealthy: %s", cmp.Or(r.Reason, "no reason given"))
	}
	out.text = "healthy"
	return out
}

// allPassed says which check of an agent of ours failed this time. One bad answer freezes no node whose checks fall after
// two, and it is no pass either.
func allPassed(report json.RawMessage) error {
	var r healthReport
	if err := json.Unmarshal(report, &r); err != nil {
		return fmt.Errorf("health check: the agent's answer can't be read: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Checks)) {
		if said := r.Checks[name]; said != "ok" && !strings.HasPrefix(said, "ok, ") { // how far it has come back
			return fmt.Errorf("check %s: %s", name, said)
		}
	}
	return nil
}

// showHealth says how a node is, and what each check answered.
func (s *session) showHealth(out outcome) {
	s.showOutcome(out)
	var r healthReport
	if s.output.data() || json.Unmarshal(out.Output, &r) != nil {
		return // there is no answer to show
	}
	for _, name := range slices.Sorted(maps.Keys(r.Checks)) {
		line := fmt.Sprintf("%s:   %s: %s", out.ID, cli.Printable(name, 64), cli.Printable(r.Checks[name], 300))
		if out.code == cli.Done {
			fmt.Fprintln(s.stdout, line)
		} else {
			fmt.Fprintln(s.stderr, line)
		}
	}
}
