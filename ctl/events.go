package ctl

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// eventView is a recorded event in JSON and YAML; its keys are public (docs/bbctl.md).
type eventView struct {
	StreamID string    `json:"stream_id"`
	At       time.Time `json:"at"` // by Redis's clock
	Event    string    `json:"event"`
	NodeID   string    `json:"node_id"`
	By       string    `json:"by"`
	Reason   string    `json:"reason"`
	Rev      int64     `json:"rev"`
	LB       string    `json:"lb,omitempty"` // of lb_forgotten, which is about no node
}

func newEventView(r pool.Recorded) eventView {
	return eventView{r.StreamID, r.At, r.Kind, r.NodeID, r.By, r.Reason, r.Rev, r.LB}
}

// about is what stands in the column NODE.
func (v *eventView) about() string { return dash(cmp.Or(v.NodeID, v.LB)) }

// eventFilter says which events; empty fields take all.
type eventFilter struct{ node, by string }

func (f eventFilter) on() bool { return f != eventFilter{} }

func (f eventFilter) takes(r *pool.Recorded) bool {
	user, _, _ := strings.Cut(r.By, "@")
	return (f.node == "" || r.NodeID == f.node) && (f.by == "" || r.By == f.by || user == f.by)
}

func (s *session) eventsCmd() *cobra.Command {
	var n int
	var follow bool
	var which eventFilter
	cmd := &cobra.Command{
		Use: "events", GroupID: look,
		Short: "Show what happened to the pool: who did what, when.",
		Long: `The oldest first; times are UTC by Redis's clock. It looks at the newest 2000; what Python tools do
is not recorded. With --follow it goes on until you stop it, also after a Redis that was away;
-o json then prints one object a line.`,
		Example: "  bbctl events -n 50 --node web3\n  bbctl events --follow",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if n < 0 || n > recordedMost {
				return usagef(cmd, "-n %d is not a number from 0 to %d", n, recordedMost)
			}
			if which.node != "" {
				if _, err := checkIDs(cmd, []string{which.node}); err != nil {
					return err
				}
			}
			if follow {
				return s.followEvents(cmd.Context(), which, n)
			}
			return s.events(cmd.Context(), which, n)
		},
	}
	f := cmd.Flags()
	f.IntVarP(&n, "lines", "n", 20, "how many, the newest")
	f.BoolVarP(&follow, "follow", "f", false, "go on with what happens from now on")
	f.StringVar(&which.node, "node", "", "only those of one `NODE`")
	f.StringVar(&which.by, "by", "", "only those of one operator, as the list shows the `name` (user, or user@host)")
	completeFlag(cmd, "node", s.completeNodes)
	return cmd
}

const timeFormat = "2006-01-02 15:04:05" // UTC

// recordedMost is how far back it looks: one read of the stream that keeps Redis busy for about 2 ms.
const recordedMost = 2000

// lastEvents returns the newest n events that the filter takes, the oldest first, and the stream id to follow from:
// nothing is missed after it, and nothing comes twice.
func lastEvents(ctx context.Context, p *pool.Pool, which eventFilter, n int) (views []eventView, after string, err error) {
	most := max(n, 1)
	if which.on() {
		most = recordedMost
	}
	recs, err := p.Events(ctx, "", int64(most))
	if err != nil {
		return nil, "", err
	}
	views, after = []eventView{}, "0-0"
	for _, r := range recs {
		after = r.StreamID
		if which.takes(&r) {
			views = append(views, newEventView(r))
		}
	}
	return views[max(0, len(views)-n):], after, nil
}

func (s *session) events(ctx context.Context, which eventFilter, n int) error {
	var views []eventView
	err := s.redis(ctx, func(ctx context.Context, p *pool.Pool) (err error) {
		views, _, err = lastEvents(ctx, p, which, n)
		return err
	})
	if err != nil {
		return err
	}
	return s.showEvents(views)
}

func (s *session) eventsTable(w *bytes.Buffer, views []eventView) {
	t := table{columns: []column{{name: "TIME (UTC)", keep: true}, {name: "EVENT", keep: true}, {name: "NODE", keep: true}, {name: "BY"}}}
	wide := s.output == asWide
	if wide {
		t.columns = append(t.columns, column{name: "REV", right: true})
	}
	t.columns = append(t.columns, column{name: "REASON", least: 12, keep: true})
	for _, v := range views {
		row := []string{v.At.Format(timeFormat), v.Event, v.about(), dash(v.By)}
		if wide {
			row = append(row, strconv.FormatInt(v.Rev, 10))
		}
		t.add(append(row, v.Reason)...)
	}
	s.render(w, &t, nil)
}

// followEvents prints the newest n, then each as it comes, until ctx ends: that is how it is meant to end.
func (s *session) followEvents(ctx context.Context, which eventFilter, n int) error {
	var views []eventView
	var after string
	err := s.redis(ctx, func(ctx context.Context, p *pool.Pool) (err error) {
		views, after, err = lastEvents(ctx, p, which, n)
		return err
	})
	if err != nil {
		return err
	}
	for _, v := range views {
		if err := s.record(v); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(ctx, s.close)() // else a read that waits would hold up the end for a second
	err = s.pool.Follow(ctx, after, func(r pool.Recorded) {
		if which.takes(&r) {
			if err := s.record(newEventView(r)); err != nil {
				cancel(err)
			}
		}
	}, s.away)
	if errors.Is(err, context.Canceled) {
		if err = context.Cause(ctx); errors.Is(err, context.Canceled) {
			return nil
		}
	}
	return err
}

// away says that Redis has gone, and nil that it is back.
func (s *session) away(err error) {
	if err != nil {
		s.say("redis is away, this goes on when it is back: %s", cli.Printable(err.Error(), 500))
	} else {
		s.say("redis is back")
	}
}

// record prints one event of a stream: a line of text, a line of JSON, or a document of YAML.
func (s *session) record(v eventView) error {
	switch s.output {
	case asJSON:
		return s.print(v, "")
	case asYAML:
		return s.print([]eventView{v}, "  ") // a list that goes on
	}
	line := cli.Printable(fmt.Sprintf("%s  %-15s  %s  %s  %s", v.At.Format(timeFormat), v.Event, v.about(), dash(v.By), v.Reason), 1000)
	if s.width > 0 && s.output != asWide {
		line = cut(line, s.width)
	}
	return s.write([]byte(strings.TrimRight(line, " ") + "\n"))
}
