package ctl

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// filter narrows nodes down; empty fields take all.
type filter struct {
	dc     []string
	labels map[string]string
}

func (f *filter) bind(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.dc, "dc", nil, "only nodes of this data `center` (repeatable: any of them)")
	cmd.Flags().StringToStringVar(&f.labels, "label", nil, "only nodes with this label `k=v` (repeatable: all must match)")
	cmd.Flags().Lookup("label").DefValue = "" // none, and not []
}

func (f *filter) on() bool { return len(f.dc) > 0 || len(f.labels) > 0 }

func (f *filter) takes(n *pool.Node) bool {
	for name, want := range f.labels {
		if got, ok := n.Labels[name]; !ok || got != want {
			return false
		}
	}
	return len(f.dc) == 0 || slices.Contains(f.dc, n.DataCenter)
}

// choice says which nodes a verb is for: names and globs on the command line, narrowed by a filter.
type choice struct {
	filter
	all    bool // also without a name
	dryRun bool
	yes    bool

	asks     func(c *choice) bool // whether more than one node needs a yes; nil: never
	everyone bool                 // no name and no filter means all, as with --all
	verb     string               // what is done, to ask and to tell; "": the command's name
	args     []string
}

func (c *choice) name(cmd *cobra.Command) string { return cmp.Or(c.verb, cmd.Name()) }

// bind gives a verb the flags of a choice.
func (c *choice) bind(cmd *cobra.Command) {
	c.filter.bind(cmd)
	f := cmd.Flags()
	f.BoolVar(&c.all, "all", false, "every node")
	f.BoolVar(&c.dryRun, "dry-run", false, "show which nodes it would be done to, and do nothing")
	f.BoolVarP(&c.yes, "yes", "y", false, "do not ask, also for more than one node")
}

// byName reports whether each node stands on the command line by its name.
func (c *choice) byName() bool {
	return !c.all && !c.on() && len(c.args) > 0 && !slices.ContainsFunc(c.args, isGlob)
}

// What asks may be.
func always(*choice) bool         { return true }
func unlessByName(c *choice) bool { return !c.byName() }

var globRule = regexp.MustCompile(`\A[A-Za-z0-9._*?\[\]^-]*[*?\[][A-Za-z0-9._*?\[\]^-]*\z`)

// isGlob tells a glob from a name that is merely wrong.
func isGlob(arg string) bool { return globRule.MatchString(arg) }

// check refuses what can name no node before anything is done.
func (c *choice) check(cmd *cobra.Command, args []string) error {
	switch {
	case c.all && (len(args) > 0 || c.on()):
		return usagef(cmd, "--all is every node: leave out NODE, --dc and --label")
	case len(args) == 0 && !c.all && !c.on() && !c.everyone:
		return usagef(cmd, "%s needs at least one NODE, or --dc, --label or --all", cmd.Name())
	}
	c.args = nil
	for _, a := range args {
		err := pool.CheckID(a)
		if isGlob(a) {
			if _, err = path.Match(a, ""); err != nil {
				err = fmt.Errorf("%q is no glob: %w (like web*, web?, web[1-4])", a, err)
			}
		}
		if err != nil {
			return usagef(cmd, "%w", err)
		}
		if !slices.Contains(c.args, a) {
			c.args = append(c.args, a)
		}
	}
	return nil
}

// pick returns the chosen nodes: those on the command line in its order, globs by id. A name that no node has is
// returned as well: the verb itself finds out, and says so. none are the globs without a match.
func (c *choice) pick(nodes []pool.Node) (ids, none []string) {
	add := func(arg string, fits func(id string) bool) (found bool) {
		for i := range nodes {
			if n := &nodes[i]; fits(n.ID) {
				found = true
				if c.takes(n) && !slices.Contains(ids, n.ID) {
					ids = append(ids, n.ID)
				}
			}
		}
		return found
	}
	if len(c.args) == 0 {
		add("", func(string) bool { return true })
	}
	for _, arg := range c.args {
		if isGlob(arg) {
			if !add(arg, func(id string) bool { ok, _ := path.Match(arg, id); return ok }) {
				none = append(none, arg)
			}
		} else if !add(arg, func(id string) bool { return id == arg }) {
			ids = append(ids, arg)
		}
	}
	return ids, none
}

// onChoice makes a RunE of what a verb does to the nodes that are chosen.
func (s *session) onChoice(c *choice, do func(ctx context.Context, ids []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := c.check(cmd, args); err != nil {
			return err
		}
		ids, err := s.choose(cmd.Context(), cmd, c)
		if err != nil || c.dryRun {
			return err
		}
		return do(cmd.Context(), ids)
	}
}

// choose finds the nodes, shows them for --dry-run, and asks where that is due.
func (s *session) choose(ctx context.Context, cmd *cobra.Command, c *choice) (ids []string, err error) {
	if err := s.open(); err != nil {
		return nil, err
	}
	if c.byName() && !c.dryRun {
		ids = c.args // no look is needed
	} else {
		var snap *pool.Snapshot
		if err := s.redis(ctx, func(ctx context.Context, p *pool.Pool) (err error) {
			snap, err = p.Snapshot(ctx)
			return err
		}); err != nil {
			return nil, err
		}
		var none []string
		if ids, none = c.pick(snap.Nodes); len(none) > 0 {
			return nil, noNode("no node matches %s (see bbctl list-nodes); nothing was done", strings.Join(none, ", "))
		}
		if len(ids) == 0 {
			return nil, noNode("none of the %d nodes is chosen by that (see bbctl list-nodes); nothing was done", len(snap.Nodes))
		}
		if c.dryRun {
			return nil, s.showDry(c.name(cmd), ids, snap.Nodes)
		}
	}
	if c.asks != nil && !c.yes && len(ids) > 1 && c.asks(c) {
		return ids, s.ask(ctx, cmd, c.name(cmd), ids)
	}
	return ids, nil
}

func noNode(format string, args ...any) error {
	return &cli.Error{Code: cli.NoNode, Err: fmt.Errorf(format, args...)}
}

// showDry shows who would be touched.
func (s *session) showDry(verb string, ids []string, nodes []pool.Node) error {
	var all outcomes
	for _, id := range ids {
		out := outcome{ID: id, Result: noSuchNode, code: cli.NoNode}
		if i := slices.IndexFunc(nodes, func(n pool.Node) bool { return n.ID == id }); i >= 0 {
			out = outcome{ID: id, Result: dryRun}
			if !s.output.data() {
				fmt.Fprintf(s.stdout, "%s: %s would be done (%s, %s)\n", id, verb, nodes[i].State(), cli.Printable(dash(nodes[i].DataCenter), 64))
			}
		} else {
			s.say("%s: no such node%s", id, didYouMean(id, idsOf(nodes), "bbctl list-nodes"))
		}
		all = append(all, out)
	}
	return s.finish(all, nil)
}
