package ctl

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// updating are the flags of a rolling update.
type updating struct {
	sending
	batch         string
	maxFailures   int
	minActive     string
	pause         time.Duration
	drainTimeout  time.Duration
	healthTimeout time.Duration
	force         bool
	resume        string
}

// lastRun is --resume without the id of a run.
const lastRun = "last"

func (s *session) updateCmd() *cobra.Command {
	u := &updating{sending: sending{choice: choice{asks: always, everyone: true}}}
	cmd := &cobra.Command{
		Use: "update [NODE...]", GroupID: act,
		Short: "Update nodes, some at a time, without a request lost.",
		Long: `For each: freeze, wait until no load balancer sends to it any more, have its agent do "update", wait
until its health checks pass, unfreeze, wait until every load balancer serves it again. It stops at
the first failure (--max-failures), and leaves that node frozen with the reason.

Without NODE, --dc and --label it is for all. A dead node is left out, and one that an operator froze
unless it is named; named, it stays frozen after its update. Ctrl-C finishes the nodes at hand, a
second one ends at once and says in what state they are. --resume goes on where a run stopped: repeat
its NODE, --dc and --label.

Exit codes: 0 done · 1 a node failed, or interrupted · 3 a node does not exist · 4 not drained, or
not served again, in time · 5 too few nodes would stay in service`,
		Example:           "  bbctl update --dc dc1 --batch 25% --pause 30s\n  bbctl update --dc dc1 --resume",
		ValidArgsFunction: s.completeNodes,
		PreRunE:           u.check,
		RunE:              func(cmd *cobra.Command, args []string) error { return s.update(cmd, u, args) },
	}
	u.sending.bind(s, cmd, 10*time.Minute)
	f := cmd.Flags()
	for _, none := range []string{"no-wait", "parallel"} {
		_ = f.MarkHidden(none) // it exists: bind made it
	}
	f.Lookup("deadline").Usage = "the longest that the update of one node may take"
	f.StringVar(&u.batch, "batch", "1", "how many at a time: a `number`, or a share of them like 25%")
	f.IntVar(&u.maxFailures, "max-failures", 0, "go on until more `nodes` than that have failed")
	f.StringVar(&u.minActive, "min-active", "", "do not begin, or go on, when fewer `nodes` of the pool would stay in service (default: half of those that are, at least 1)")
	f.DurationVar(&u.pause, "pause", 5*time.Second, "between two batches")
	f.DurationVar(&u.drainTimeout, "drain-timeout", time.Minute, "the longest to wait for load balancers; one web socket holds an old worker for hours")
	f.DurationVar(&u.healthTimeout, "health-timeout", 2*time.Minute, "the longest to wait for the health checks to pass")
	f.BoolVar(&u.force, "force", false, "go on when a node is not drained in time, or no load balancer is known")
	f.StringVar(&u.resume, "resume", "", "go on with a run that stopped, the last one or --resume=`RUN`")
	f.Lookup("resume").NoOptDefVal = lastRun
	return cmd
}

func (u *updating) check(cmd *cobra.Command, args []string) error {
	f := cmd.Flags()
	switch {
	case f.Changed("no-wait") || f.Changed("parallel"):
		return usagef(cmd, "update waits for each node, and --batch says how many go at once")
	case u.maxFailures < 0:
		return usagef(cmd, "--max-failures %d is not a number of nodes", u.maxFailures)
	case u.pause < 0 || u.drainTimeout <= 0 || u.healthTimeout <= 0:
		return usagef(cmd, "--pause, --drain-timeout and --health-timeout are times like 30s")
	case u.resume != "" && u.resume != lastRun && !runRule.MatchString(u.resume):
		return usagef(cmd, "--resume=%s is no run (like K3XQ7ABC; none: the last one)", u.resume)
	}
	if _, err := u.size(1); err != nil {
		return usagef(cmd, "%w", err)
	}
	if _, err := u.least(1); err != nil {
		return usagef(cmd, "%w", err)
	}
	return u.sending.check(cmd, args)
}

// size is how many of n nodes are updated at a time.
func (u *updating) size(n int) (int, error) {
	text, share := strings.CutSuffix(u.batch, "%")
	k, err := strconv.Atoi(text)
	if err != nil || k < 1 || share && k > 100 {
		return 0, fmt.Errorf("--batch %q is not a number from 1, nor a share from 1%% to 100%%", u.batch)
	}
	if share {
		k = n * k / 100
	}
	return max(1, k), nil
}

// least is how many nodes have to stay in service when so many are now.
func (u *updating) least(active int) (int, error) {
	if u.minActive == "" {
		return max(1, active/2), nil
	}
	n, err := strconv.Atoi(u.minActive)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("--min-active %q is not a number of nodes", u.minActive)
	}
	return n, nil
}

func (s *session) update(cmd *cobra.Command, u *updating, args []string) error {
	if err := u.choice.check(cmd, args); err != nil {
		return err
	}
	if err := s.open(); err != nil {
		return err
	}
	sign, err := s.newSigner(u.seal)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	p, err := s.plan(ctx, cmd, u)
	if err != nil {
		return err
	}
	for _, out := range p.skipped {
		s.say("%s: left out: %s", out.ID, out.text)
	}
	ids := p.ids()
	switch {
	case u.dryRun:
		return s.showPlan(p)
	case len(ids) == 0 && len(p.done) > 0:
		s.say("update %s is done: %s", p.run, plural(len(p.done), "node"))
		return s.finish(p.outcomes(nil), nil)
	case len(ids) == 0:
		return noNode("no node is left to update")
	}
	if err := p.mayBegin(); err != nil {
		return &cli.Error{Code: cli.Refused, Err: err}
	}
	if !u.yes && len(ids) > 1 {
		if err := s.ask(ctx, cmd, u.name(cmd), ids); err != nil {
			return err
		}
	}
	r := &rollout{s: s, u: u, plan: p, sign: sign}
	return r.run(ctx)
}

// showPlan is --dry-run.
func (s *session) showPlan(p *plan) error {
	if !s.output.data() {
		s.say("update %s, %d at a time", plural(len(p.todo), "node"), p.size)
		for _, n := range p.todo {
			fmt.Fprintf(s.stdout, "%s: would be updated (%s, %s)%s\n", n.ID, n.State(), cli.Printable(dash(n.DataCenter), 64), n.after())
		}
	}
	var all outcomes
	for _, n := range p.todo {
		all = append(all, outcome{ID: n.ID, Result: dryRun})
	}
	return s.finish(append(all, p.skipped...), nil)
}

// mayBegin says why a run must not begin: what it would stop at anyway, with a node out of service.
func (p *plan) mayBegin() error {
	var silent []string
	for _, b := range p.lbs {
		if b.Silent {
			silent = append(silent, b.ID)
		}
	}
	switch {
	case p.u.force:
	case len(p.lbs) == 0:
		return fmt.Errorf("%w: nobody can say when a node is drained (--force goes on without)", pool.ErrNoLB)
	case len(silent) > 0:
		return fmt.Errorf("load balancer %s is silent and may still send to a node that is taken out (gone for good: bbctl lbs forget ID; --force goes on)", or(silent))
	}
	return p.enough(p.snap, p.todo[:min(p.size, len(p.todo))])
}

var errTooFew = errors.New("too few nodes would stay in service")

// enough says whether enough nodes stay in service without those of a batch.
func (p *plan) enough(snap *pool.Snapshot, batch []planned) error {
	active, out := 0, 0
	for i := range snap.Nodes {
		n := &snap.Nodes[i]
		if !inService(n) {
			continue
		}
		active++
		for _, b := range batch {
			if b.ID == n.ID {
				out++
			}
		}
	}
	if active-out < p.least && out > 0 {
		return fmt.Errorf("%w: %d of the pool's %d active nodes, and --min-active is %d", errTooFew, active-out, active, p.least)
	}
	return nil
}
