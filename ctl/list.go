package ctl

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/pool"
)

// states are all states, in the order in which they are counted.
var states = []pool.State{pool.Active, pool.Frozen, pool.Unhealthy, pool.Dead, pool.Faulty, pool.Inactive}

// selection says which nodes to list; empty fields select all.
type selection struct {
	states []string
	dc     string
	labels map[string]string
}

func (s *session) listNodesCmd() *cobra.Command {
	var sel selection
	cmd := &cobra.Command{
		Use: "list-nodes", GroupID: look,
		Short: "List the nodes: who gets traffic, who does not, and why.",
		Long: `SINCE is how long a node has been in its state, BEAT how old its last heartbeat is. A table is cut to
the terminal; -o wide shows everything, whole.`,
		Example: `  bbctl list-nodes --state frozen,unhealthy,dead
  bbctl list-nodes --dc dc1 --label zone=a -o json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := sel.check(); err != nil {
				return usagef(cmd, "%w", err)
			}
			return s.listNodes(cmd.Context(), sel)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&sel.states, "state", nil, "only nodes in these states: "+or(stateNames()))
	f.StringVar(&sel.dc, "dc", "", "only nodes of this data center")
	f.StringToStringVar(&sel.labels, "label", nil, "only nodes with this label (repeatable: all must match)")
	complete(cmd, "state", stateNames()...)
	return cmd
}

func stateNames() (names []string) {
	for _, st := range states {
		names = append(names, string(st))
	}
	return names
}

func (sel selection) check() error {
	for _, st := range sel.states {
		if !slices.Contains(states, pool.State(st)) {
			return fmt.Errorf("--state %q is not one of %s", st, strings.Join(stateNames(), ", "))
		}
	}
	return nil
}

func (sel selection) takes(v nodeView) bool {
	for name, want := range sel.labels {
		if got, ok := v.Labels[name]; !ok || got != want {
			return false
		}
	}
	return (len(sel.states) == 0 || slices.Contains(sel.states, string(v.State))) && (sel.dc == "" || sel.dc == v.DataCenter)
}

func (s *session) listNodes(ctx context.Context, sel selection) error {
	var snap *pool.Snapshot
	var ips map[string]string
	err := s.redis(ctx, func(ctx context.Context, p *pool.Pool) (err error) {
		if snap, err = p.FullSnapshot(ctx); err != nil {
			return err
		}
		ips, err = p.NodeIPs(ctx, pythonNodes(snap.Nodes))
		return err
	})
	if err != nil {
		return err
	}
	views := []nodeView{}
	for i := range snap.Nodes {
		if v := newNodeView(&snap.Nodes[i], ips[snap.Nodes[i].ID]); sel.takes(v) {
			views = append(views, v)
		}
	}
	switch {
	case len(snap.Nodes) == 0:
		s.say("no node is registered (redis at %s)", s.pool.Where())
	case len(views) == 0:
		s.say("none of the %d nodes is of that kind", len(snap.Nodes))
	}
	err = s.show(views, func(w *bytes.Buffer) {
		if len(views) > 0 {
			s.nodesTable(w, views)
		}
		if s.width > 0 && len(views) > 0 { // not for a script to stumble over
			fmt.Fprintln(w, cut(tally(views), s.width))
		}
	})
	s.sayRefused(snap.Refused)
	return err
}

// sayRefused shows what stands among the node ids and is none, so that it can be taken out. Anyone who may write to
// Redis may have put in many and long ones.
func (s *session) sayRefused(refused []pool.Refusal) {
	const most, long = 10, 200
	for _, r := range refused[:min(most, len(refused))] {
		if q := strconv.QuoteToASCII(r.ID); len(q) <= long {
			s.say("refused, no node id: %s (remove it: bbctl forget --quoted %s)", q, shellQuote(q))
		} else {
			s.say("refused, no node id: %s… (%d bytes)", q[:long], len(r.ID))
		}
	}
	if more := len(refused) - most; more > 0 {
		s.say("… and %d more", more)
	}
}

// pythonNodes are the nodes whose address stands in bazbeans:node_ips.
func pythonNodes(nodes []pool.Node) (ids []string) {
	for _, n := range nodes {
		if !n.Address.IsValid() {
			ids = append(ids, n.ID)
		}
	}
	return ids
}

func (s *session) nodesTable(w *bytes.Buffer, views []nodeView) {
	now, wide := s.now(), s.output == asWide
	t := table{columns: []column{{name: "NODE", keep: true}, {name: "STATE", keep: true}, {name: "SINCE", right: true},
		{name: "BEAT", right: true}, {name: "DC"}, {name: "ADDRESS"}, {name: "CPU", right: true}, {name: "MEM", right: true}}}
	if wide {
		t.columns = append(t.columns, column{name: "DISK", right: true}, column{name: "WEIGHT", right: true}, column{name: "AGENT"},
			column{name: "INSTANCE"}, column{name: "REV", right: true}, column{name: "FROZEN BY"}, column{name: "LABELS"})
	}
	// The last column, so that a long reason costs the others nothing.
	t.columns = append(t.columns, column{name: "WHY", least: 12, keep: true})
	for i := range views {
		v := &views[i]
		row := []string{v.ID, string(v.State), age(now, v.Since), age(now, v.LastBeat), dash(v.DataCenter), v.endpoint(), percent(v.CPU), percent(v.Memory)}
		if wide {
			by := ""
			if v.Freeze != nil {
				by = v.Freeze.By
			}
			row = append(row, percent(v.Disk), strconv.Itoa(v.Weight), v.agent(), dash(v.Instance), strconv.FormatInt(v.Rev, 10), dash(by), dash(labels(v.Labels)))
		}
		t.add(append(row, v.because())...)
	}
	s.render(w, &t, func(column, text string) colour {
		if column == "STATE" {
			return stateColour(pool.State(text))
		}
		return ""
	})
}

// render writes a table as wide as stdout wants it, and coloured if it does.
func (s *session) render(w *bytes.Buffer, t *table, paint func(column, text string) colour) {
	width := s.width
	if s.output == asWide {
		width = 0
	}
	if s.colour {
		t.colour = paint
	}
	t.write(w, width)
}

func stateColour(st pool.State) colour {
	switch st {
	case pool.Active:
		return green
	case pool.Frozen:
		return yellow
	case pool.Inactive:
		return dim
	}
	return red
}

func labels(m map[string]string) string {
	pairs := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		pairs = append(pairs, k+"="+m[k])
	}
	return strings.Join(pairs, ",")
}

// tally counts the nodes by state: "12 in all: 10 active, 2 frozen".
func tally(views []nodeView) string {
	var parts []string
	for _, st := range states {
		n := 0
		for i := range views {
			if views[i].State == st {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, st))
		}
	}
	return fmt.Sprintf("%d in all: %s", len(views), strings.Join(parts, ", "))
}

// shellQuote makes one word of a text for a POSIX shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
