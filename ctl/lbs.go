package ctl

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// lbView is a load balancer in JSON and YAML; its keys are public (docs/bbctl.md).
type lbView struct {
	ID         string         `json:"id"`
	Host       string         `json:"host"`
	State      string         `json:"state"`
	Rev        int64          `json:"rev"`    // of the pool, as it serves it
	Behind     *int64         `json:"behind"` // milliseconds from there to the pool's newest change; null: silent
	Generation int64          `json:"generation"`
	Apply      string         `json:"apply"`
	Live       string         `json:"live"` // by which live engine; "": by reloads
	Busy       map[string]int `json:"busy"` // by node: requests under way, or connections with resolve; null: not counted
	Held       []string       `json:"held"`
	Refused    []refused      `json:"refused"` // nodes that it does not take, for reasons of its own
	Draining   int            `json:"draining"`
	At         *time.Time     `json:"at"`
	Error      string         `json:"error"`

	silentFor time.Duration // 0: unknown
	unproven  bool          // what it serves, as after a start of its lbd
}

// refused is a node that a load balancer does not take, and why.
type refused struct {
	ID  string `json:"id"`
	Why string `json:"why"`
}

// States of a load balancer; it is in the first that holds.
const (
	lbSilent   = "silent"   // its acknowledgement has expired: nobody knows what its Nginx does
	lbBlind    = "blind"    // lbd can't see its Nginx, or not prove what it serves
	lbError    = "error"    // its last change failed
	lbHolding  = "holding"  // its guard goes on serving nodes against the registry's word
	lbBehind   = "behind"   // serves an older revision
	lbDraining = "draining" // old workers have not ended
	lbOK       = "ok"
)

func newLBView(b pool.LB, rev int64) lbView {
	behind := max(0, rev-b.Rev)
	v := lbView{ID: b.ID, Host: b.Host, Rev: b.Rev, Behind: &behind, Generation: b.Generation, Apply: b.Apply, Live: b.Live, Busy: b.Busy,
		Held: append([]string{}, b.Held...), Refused: []refused{}, Draining: b.Draining, At: known(b.At), Error: b.Error, silentFor: b.SilentFor}
	if v.unproven = b.Rev == 0 && rev > 0; v.unproven && len(b.Busy) == 0 && b.Error == "" {
		v.Busy = nil // there may be something
	}
	for _, r := range b.Refused {
		v.Refused = append(v.Refused, refused(r))
	}
	switch {
	case b.Silent:
		v.State, v.Behind = lbSilent, nil
	case b.Blind:
		v.State = lbBlind
	case b.Error != "":
		v.State = lbError
	case len(b.Held) > 0:
		v.State = lbHolding
	case behind > 0:
		v.State = lbBehind
	case b.Draining > 0:
		v.State = lbDraining
	default:
		v.State = lbOK
	}
	return v
}

func (s *session) lbsCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "lbs", GroupID: look,
		Short: "List the load balancers: what each is proven to serve.",
		Long: `LAG is how much older the pool is that it serves than the newest change; HELD are nodes that its
guard goes on serving against the registry's word, REFUSED how many it does not take (-o json says
why, and list-nodes), DRAINING the old workers of its Nginx, BUSY the requests that a live engine has
counted under way when it last said so (-o json: on which nodes), AGE how old its word is.`,
		Example: "  bbctl lbs\n  bbctl lbs forget lb2",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return s.lbs(cmd.Context()) },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "forget ID",
		Short: "Remove a load balancer that will not come back.",
		Long: `Nothing waits for it any more. Be sure that its Nginx is stopped: it may still send to nodes that are
frozen. One that still runs comes back with its next word.

Exit codes: 0 done · 3 no such load balancer`,
		Example:           "  bbctl lbs forget lb2\n  bbctl lbs forget lb2 && bbctl freeze web3 --wait",
		Args:              oneArg("ID"),
		ValidArgsFunction: s.completeLBs,
		RunE:              onIDs(func(ctx context.Context, ids []string) error { return s.forgetLB(ctx, ids[0]) }),
	})
	return cmd
}

func (s *session) lbs(ctx context.Context) error {
	views := []lbView{}
	err := s.redis(ctx, func(ctx context.Context, p *pool.Pool) error {
		snap, err := p.Snapshot(ctx) // for its revision, read first: nobody looks ahead of it by mistake
		if err != nil {
			return err
		}
		lbs, err := p.LBs(ctx)
		for _, b := range lbs {
			views = append(views, newLBView(b, snap.Rev))
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(views) == 0 {
		s.say("no load balancer has ever reported (redis at %s)", s.pool.Where())
	}
	return s.show(views, func(w *bytes.Buffer) {
		if len(views) > 0 {
			s.lbsTable(w, views)
		}
	})
}

func (s *session) lbsTable(w *bytes.Buffer, views []lbView) {
	now := s.now()
	t := table{columns: []column{{name: "ID", keep: true}, {name: "HOST"}, {name: "STATE", keep: true}, {name: "REV", right: true},
		{name: "LAG", right: true, keep: true}, {name: "GEN", right: true}, {name: "APPLY"}, {name: "HELD", least: 6},
		{name: "REFUSED", right: true}, {name: "DRAINING", right: true}, {name: "BUSY", right: true}, {name: "AGE", right: true}, {name: "ERROR", least: 12, keep: true}}}
	for _, v := range views {
		if v.State == lbSilent {
			last := "-"
			if v.silentFor > 0 {
				last = short(v.silentFor)
			}
			t.add(v.ID, "-", v.State, "-", "-", "-", "-", "-", "-", "-", "-", last, "its Nginx may still send")
			continue
		}
		rev, trouble := strconv.FormatInt(v.Rev, 10), v.Error
		if v.unproven {
			rev, trouble = "-", cmp.Or(trouble, "serves no proven revision")
		}
		t.add(v.ID, dash(v.Host), v.State, rev, lag(v), strconv.FormatInt(v.Generation, 10), how(v),
			dash(strings.Join(v.Held, ",")), strconv.Itoa(len(v.Refused)), strconv.Itoa(v.Draining), busy(v), age(now, v.At), trouble)
	}
	s.render(w, &t, func(column, text string) colour {
		if column != "STATE" {
			return ""
		}
		switch text {
		case lbOK:
			return green
		case lbSilent, lbError:
			return red
		}
		return yellow
	})
}

// how is by what it applies: reload, lua or resolve.
func how(v lbView) string { return dash(cmp.Or(v.Live, v.Apply)) }

// busy is how much is under way on all nodes.
func busy(v lbView) string {
	if v.Live == "" || v.Busy == nil { // it does not count, or can't just now
		return "-"
	}
	n := 0
	for _, on := range v.Busy {
		n += on
	}
	return strconv.Itoa(n)
}

func lag(v lbView) string {
	ms := *v.Behind
	switch {
	case v.Rev == 0: // it has served nothing yet
		return "-"
	case ms == 0:
		return "0"
	case ms < 1000:
		return fmt.Sprintf("%dms", ms)
	}
	return short(time.Duration(ms) * time.Millisecond)
}

func (s *session) forgetLB(ctx context.Context, id string) error {
	return s.redis(ctx, func(ctx context.Context, p *pool.Pool) error {
		ids, err := lbIDs(ctx, p)
		if err != nil {
			return err
		}
		if !slices.Contains(ids, id) {
			return &cli.Error{Code: cli.NoNode, Err: fmt.Errorf("no such load balancer: %s%s", id, didYouMean(id, ids, "bbctl lbs"))}
		}
		if err := p.ForgetLB(ctx, id, s.as); err != nil {
			return err
		}
		return s.show(outcomes{{ID: id, Result: forgotten}}, func(w *bytes.Buffer) { fmt.Fprintf(w, "%s: forgotten\n", id) })
	})
}

func lbIDs(ctx context.Context, p *pool.Pool) (ids []string, err error) {
	lbs, err := p.LBs(ctx)
	for _, b := range lbs {
		ids = append(ids, b.ID)
	}
	return ids, err
}
