package ctl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/trust"
)

// statusView is what status shows; its keys are public (docs/bbctl.md).
type statusView struct {
	nodeView
	HeldBy   []string       `json:"held_by"`  // load balancers that serve it against the registry's word
	Busy     map[string]int `json:"busy"`     // by load balancer that counts: what is under way on it, as in lbView
	Accepts  []string       `json:"accepts"`  // types of commands that its agent knows
	SealKey  string         `json:"seal_key"` // fingerprint of the key that --seal uses, by its own word
	Commands []resultView   `json:"commands"` // the last ones, the oldest first
	Events   []eventView    `json:"events"`   // the last ones, the oldest first

	underWay string // busy in words; "": nobody counts
}

func (s *session) statusCmd() *cobra.Command {
	return &cobra.Command{
		Use: "status NODE", GroupID: look,
		Short:             "Show everything about one node, with its last commands and events.",
		Example:           "  bbctl status web3\n  bbctl status web3 -o json",
		Args:              oneArg("NODE"),
		ValidArgsFunction: s.completeNodes,
		RunE:              onIDs(func(ctx context.Context, ids []string) error { return s.status(ctx, ids[0]) }),
	}
}

func (s *session) status(ctx context.Context, id string) error {
	var n *pool.Node
	v := statusView{HeldBy: []string{}, Busy: map[string]int{}, Accepts: []string{}, Commands: []resultView{}}
	err := s.redis(ctx, func(ctx context.Context, p *pool.Pool) (err error) {
		if n, err = p.Node(ctx, id); errors.Is(err, pool.ErrNoSuchNode) {
			return nearest(ctx, p, id, err)
		} else if err != nil {
			return err
		}
		ips, err := p.NodeIPs(ctx, pythonNodes([]pool.Node{*n}))
		if err != nil {
			return err
		}
		lbs, err := p.LBs(ctx)
		if err != nil {
			return err
		}
		v.nodeView = newNodeView(n, ips[id], lbs)
		for _, b := range lbs {
			if slices.Contains(b.Held, id) {
				v.HeldBy = append(v.HeldBy, b.ID)
			}
		}
		v.readBusy(lbs)
		if err := v.readCommands(ctx, p, id); err != nil {
			return err
		}
		v.Events, _, err = lastEvents(ctx, p, eventFilter{node: id}, 5)
		return err
	})
	if err != nil {
		return err
	}
	return s.show(v, func(w *bytes.Buffer) { s.statusText(w, n, &v) })
}

// readBusy reads what is under way on the node, by those load balancers that can tell.
func (v *statusView) readBusy(lbs []pool.LB) {
	var words []string
	for _, b := range lbs {
		if b.Silent || b.Busy == nil {
			continue
		}
		n := b.Busy[v.ID]
		if n == 0 && b.Rev == 0 && v.Rev > 0 && b.Error == "" { // it has proven nothing yet: there may be something
			words = append(words, "not known by "+b.ID)
			continue
		}
		v.Busy[b.ID] = n
		words = append(words, plural(n, b.Counts())+" by "+b.ID)
	}
	v.underWay = strings.Join(words, ", ")
}

// readCommands reads what the node's agent can do, and what it did last.
func (v *statusView) readCommands(ctx context.Context, p *pool.Pool, id string) error {
	caps, err := p.Capabilities(ctx, id)
	if err != nil {
		return err
	}
	v.Accepts = append(v.Accepts, caps[0].Commands...)
	if key, err := trust.ParseSealKey(caps[0].SealKey); err == nil {
		v.SealKey = key.Fingerprint()
	}
	last, err := p.LastCommands(ctx, id, 5)
	for _, r := range slices.Backward(last) {
		v.Commands = append(v.Commands, newResultView(r))
	}
	return err
}

func (s *session) statusText(w *bytes.Buffer, n *pool.Node, v *statusView) {
	now := s.now()
	line := func(key, text string) {
		if text != "" {
			fmt.Fprintf(w, "%-13s%s\n", key, text)
		}
	}
	free := func(text string) string { return cli.Printable(text, 1000) }
	state := s.paint(stateColour(v.State), string(v.State))
	if v.Since != nil {
		state += ", for " + age(now, v.Since)
	}
	line("node", v.ID)
	line("state", state)
	line("why", free(v.Why))
	line("traffic", yesNo(v.Traffic))
	if v.lbs > 0 {
		line("served by", strings.TrimSuffix(v.served()+" load balancers: "+strings.Join(v.ServedBy, " "), ": "))
	}
	for _, b := range v.HeldBy {
		line("held by", b+": goes on serving it (its guard, or an upstream that left its config)")
	}
	line("under way", v.underWay)
	for _, r := range v.RefusedBy {
		line("refused by", free(r.LB+": "+r.Why))
	}
	if v.Freeze != nil {
		line("frozen by", free(v.Freeze.By)+" at "+free(v.Freeze.At))
	}
	if v.SelfFreeze != v.Why {
		line("own freeze", free(v.SelfFreeze))
	}
	line("data center", free(v.DataCenter))
	line("address", free(v.endpoint()))
	if v.Agent != "" {
		line("weight", strconv.Itoa(v.Weight))
		line("labels", free(labels(v.Labels)))
	}
	line("agent", free(v.agent()))
	line("instance", free(v.Instance))
	line("accepts", free(strings.Join(v.Accepts, ", ")))
	line("seal key", v.SealKey)
	line("heartbeat", heartbeat(now, n))
	if v.Alive {
		line("cpu", bar(v.CPU))
		line("memory", bar(v.Memory))
		line("disk", bar(v.Disk))
	}
	line("registered", yesNo(v.Registered))
	line("active", yesNo(v.Active))
	line("revision", strconv.FormatInt(v.Rev, 10))
	line("status", free(v.Status))
	if v.Details != v.Why {
		line("details", free(v.Details))
	}
	if len(v.Commands) > 0 {
		fmt.Fprintln(w, "\nLast commands:")
		s.commandsTable(w, v.Commands)
	}
	if len(v.Events) > 0 {
		fmt.Fprintln(w, "\nLast events:")
		s.eventsTable(w, v.Events)
	}
}

func (s *session) commandsTable(w *bytes.Buffer, views []resultView) {
	t := table{columns: []column{{name: "TIME (UTC)", keep: true}, {name: "TYPE", keep: true}, {name: "RESULT", keep: true}, {name: "BY"}, {name: "COMMAND"}, {name: "WHY", least: 12, keep: true}}}
	for _, v := range views {
		at := "-"
		if v.Queued != nil {
			at = v.Queued.Format(timeFormat)
		}
		t.add(at, v.Type, v.Result, dash(v.By), v.Command, v.Detail)
	}
	s.render(w, &t, func(column, text string) colour {
		if column == "RESULT" {
			return resultColour(pool.CommandState(text))
		}
		return ""
	})
}

func heartbeat(now time.Time, n *pool.Node) string {
	switch {
	case !n.Alive:
		return "none: its agent is down, or cannot reach Redis"
	case n.Expires.IsZero():
		return fmt.Sprintf("%s ago, never expires", age(now, known(n.Beat)))
	}
	return fmt.Sprintf("%s ago, expires in %s", age(now, known(n.Beat)), short(max(0, n.Expires.Sub(now))))
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
