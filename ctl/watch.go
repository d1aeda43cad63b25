package ctl

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// watchEvery is how often a live list looks: two round trips each time.
const watchEvery = 2 * time.Second

// watchNodes paints the list on a terminal until ctx ends, which is how it is meant to end. Redis that does not answer
// is said above what was last seen.
func (s *session) watchNodes(cmd *cobra.Command, l listing) error {
	out, ok := s.stdout.(*os.File)
	if !ok || s.width == 0 || s.output.data() {
		return usagef(cmd, "--watch paints a terminal; a program follows changes with: bbctl events --follow -o json")
	}
	if err := s.open(); err != nil {
		return err
	}
	// The second screen, so that what stood there comes back; no cursor, no line wrap.
	fmt.Fprint(out, "\x1b[?1049h\x1b[?25l\x1b[?7l")
	defer fmt.Fprint(out, "\x1b[?7h\x1b[?25h\x1b[?1049l")
	var f *fleet
	for ctx := cmd.Context(); ; {
		err := s.redis(ctx, func(ctx context.Context, p *pool.Pool) error {
			now, err := readFleet(ctx, p)
			if err == nil {
				f = now
			}
			return err
		})
		if ctx.Err() != nil {
			return nil
		}
		height := 24
		if w, h, err := term.GetSize(int(out.Fd())); err == nil && w > 0 {
			s.width, height = w, h
		}
		if err := s.write([]byte(s.frame(f, l, err, height))); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchEvery):
		}
	}
}

// frame is one picture of a screen of that height. A line is erased before it is written: behind a full one the cursor
// stands on its last cell.
func (s *session) frame(f *fleet, l listing, err error, height int) string {
	var b bytes.Buffer
	if err != nil {
		fmt.Fprintln(&b, s.paint(red, cut(cli.Printable(err.Error(), 1000), s.width)))
	}
	if f != nil {
		views := f.views(l.filter, l.states)
		slices.SortStableFunc(views, orders[l.sort])
		s.summary(&b, f, views)
		s.nodesTable(&b, views)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if more := len(lines) - height + 1; more > 1 {
		lines = append(lines[:height-1], fmt.Sprintf("… and %d more (narrow it: --state, --dc, --label; trouble first: --sort state)", more))
	}
	text := "\x1b[H\x1b[K" + strings.Join(lines, "\r\n\x1b[K")
	if len(lines) < height {
		text += "\r\n\x1b[J"
	}
	return text
}
