package ctl

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/kballard/go-shellquote"
	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/pool"
)

// states are all states, in the order in which they are counted.
var states = []pool.State{pool.Active, pool.Frozen, pool.Unhealthy, pool.Dead, pool.Faulty, pool.Inactive}

// listing says which nodes to list, and how.
type listing struct {
	filter
	states []string
	sort   string
	watch  bool
}

func (s *session) listNodesCmd() *cobra.Command {
	var l listing
	cmd := &cobra.Command{
		Use: "list-nodes", GroupID: look,
		Short: "List the nodes: who gets traffic, who does not, and why.",
		Long: `SINCE is how long a node has been in its state, LBS how many load balancers send to it, BEAT how old
its last heartbeat is. A table is cut to the terminal; -o wide shows everything, whole.`,
		Example: `  bbctl list-nodes --state frozen,unhealthy,dead
  bbctl list-nodes --dc dc1 --label zone=a -o json
  bbctl list-nodes --watch --sort cpu`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := l.check(); err != nil {
				return usagef(cmd, "%w", err)
			}
			if l.watch {
				return s.watchNodes(cmd, l)
			}
			return s.listNodes(cmd.Context(), l)
		},
	}
	l.bind(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&l.states, "state", nil, "only nodes in these states: "+or(stateNames()))
	f.StringVar(&l.sort, "sort", "name", "by "+or(slices.Sorted(maps.Keys(orders))))
	f.BoolVarP(&l.watch, "watch", "w", false, "go on showing them, live, until you stop it")
	complete(cmd, "state", stateNames()...)
	complete(cmd, "sort", slices.Sorted(maps.Keys(orders))...)
	return cmd
}

func stateNames() (names []string) {
	for _, st := range states {
		names = append(names, string(st))
	}
	return names
}

func (l *listing) check() error {
	for _, st := range l.states {
		if !slices.Contains(states, pool.State(st)) {
			return fmt.Errorf("--state %q is not one of %s", st, strings.Join(stateNames(), ", "))
		}
	}
	if _, ok := orders[l.sort]; !ok {
		return fmt.Errorf("--sort %q is not one of %s", l.sort, strings.Join(slices.Sorted(maps.Keys(orders)), ", "))
	}
	return nil
}

func (s *session) listNodes(ctx context.Context, l listing) error {
	var f *fleet
	err := s.redis(ctx, func(ctx context.Context, p *pool.Pool) (err error) {
		f, err = readFleet(ctx, p)
		return err
	})
	if err != nil {
		return err
	}
	views := f.views(l.filter, l.states)
	slices.SortStableFunc(views, orders[l.sort])
	switch {
	case len(f.snap.Nodes) == 0:
		s.say("no node is registered (redis at %s)", s.pool.Where())
	case len(views) == 0:
		s.say("none of the %d nodes is of that kind", len(f.snap.Nodes))
	}
	err = s.show(views, func(w *bytes.Buffer) {
		if len(views) == 0 {
			return
		}
		if s.width > 0 { // not for a script to stumble over
			s.summary(w, f, views)
		}
		s.nodesTable(w, views)
	})
	s.sayRefused(f.snap.Refused)
	return err
}

// summary stands above the table: how many nodes are in which state, and the load balancers.
func (s *session) summary(w *bytes.Buffer, f *fleet, views []nodeView) {
	line, lbs := tally(views), lbsLine(f)
	if s.site != "" {
		line = s.site + ": " + line
	}
	if cells(line)+cells(lbs)+3 <= s.width {
		line += " · " + lbs
	} else {
		line = cut(line, s.width) + "\n" + cut(lbs, s.width)
	}
	fmt.Fprintln(w, line)
}

// lbsLine says in few words whether all load balancers are in step.
func lbsLine(f *fleet) string {
	if len(f.lbs) == 0 {
		return "no load balancer"
	}
	var not []string
	for _, b := range f.lbs {
		if v := newLBView(b, f.snap.Rev); v.State != lbOK {
			not = append(not, b.ID+" "+v.State)
		}
	}
	if len(not) == 0 {
		return plural(len(f.lbs), "load balancer") + ", in step"
	}
	return plural(len(f.lbs), "load balancer") + ": " + strings.Join(not, ", ")
}

// sayRefused shows what stands among the node ids and is none, so that it can be taken out. Anyone who may write to
// Redis may have put in many and long ones.
func (s *session) sayRefused(refused []pool.Refusal) {
	const most, long = 10, 200
	for _, r := range refused[:min(most, len(refused))] {
		if q := strconv.QuoteToASCII(r.ID); len(q) <= long {
			s.say("refused, no node id: %s (remove it: bbctl forget --quoted %s)", q, shellquote.Join(q))
		} else {
			s.say("refused, no node id: %s… (%d bytes)", q[:long], len(r.ID))
		}
	}
	if more := len(refused) - most; more > 0 {
		s.say("… and %d more", more)
	}
}

func (s *session) nodesTable(w *bytes.Buffer, views []nodeView) {
	now, wide := s.now(), s.output == asWide
	load := percent
	if wide || s.width >= 120 {
		load = bar
	}
	t := table{columns: []column{{name: "NODE", keep: true}, {name: "STATE", keep: true}, {name: "SINCE", right: true}, {name: "LBS", right: true},
		{name: "BEAT", right: true}, {name: "DC"}, {name: "ADDRESS"}, {name: "CPU", right: true}, {name: "MEM", right: true}, {name: "AGENT"}}}
	if wide {
		t.columns = append(t.columns, column{name: "DISK", right: true}, column{name: "WEIGHT", right: true},
			column{name: "INSTANCE"}, column{name: "REV", right: true}, column{name: "FROZEN BY"}, column{name: "LABELS"})
	}
	// The last column, so that a long reason costs the others nothing.
	t.columns = append(t.columns, column{name: "WHY", least: 12, keep: true})
	for i := range views {
		v := &views[i]
		row := []string{v.ID, string(v.State), age(now, v.Since), v.served(), age(now, v.LastBeat), dash(v.DataCenter), v.endpoint(), load(v.CPU), load(v.Memory), v.agent()}
		if wide {
			by := ""
			if v.Freeze != nil {
				by = v.Freeze.By
			}
			row = append(row, percent(v.Disk), strconv.Itoa(v.Weight), dash(v.Instance), strconv.FormatInt(v.Rev, 10), dash(by), dash(labels(v.Labels)))
		}
		t.add(append(row, v.because())...)
	}
	s.render(w, &t, nodeColour)
}

func nodeColour(column, text string) colour {
	switch column {
	case "STATE":
		return stateColour(pool.State(text))
	case "LBS":
		if k, n, _ := strings.Cut(text, "/"); n != "" && k != n && k != "0" {
			return yellow
		}
	case "CPU", "MEM":
		n, _ := strconv.Atoi(strings.TrimSuffix(text[strings.LastIndexByte(text, ' ')+1:], "%")) // "-" is 0
		switch {
		case n >= 90:
			return red
		case n >= 75:
			return yellow
		}
	}
	return ""
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

// tally counts the nodes by state: "12 nodes: 10 active, 2 frozen".
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
	return fmt.Sprintf("%s: %s", plural(len(views), "node"), strings.Join(parts, ", "))
}
