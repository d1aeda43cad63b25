package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/bazbeans/bazbeans/cli"
)

// Row is one fault.
type Row struct {
	Name     string // who is hit, colon, by what
	Does     string // what is done
	MustHold string // beside: no more failed requests than at the control
	Short    bool   // it is played in a short run, too: one row at least for each mechanism
	Setup    Setup  // of the site that it is done to

	Engines   []string // that it is a fault of; nil: of all
	Live      string   // what it is with a live engine, where that is something else
	ShortLive []string // a short run plays it with these live engines, too

	// Reloads is how many a live engine may need, beside those of an operator; -1: as many as it likes.
	Reloads        int64
	ReloadsResolve int64 // more of them, with resolve

	// More is how many more requests than at the control may fail, where both lose some by the fault itself and chance
	// deals them out; 0 wherever the control loses none.
	More int64

	// MoreResolve is the same with names: an Nginx that starts has no node before it has asked for them.
	MoreResolve int64

	Run func(*Site)
}

// game is a row to be played with an engine.
type game struct {
	*Row
	engine string
}

// mustHold says what must hold with this engine.
func (g *game) mustHold() string {
	if g.engine != byReload && g.Live != "" {
		return g.Live
	}
	return g.MustHold
}

// Setup says what differs from a plain site; see Site.
type Setup struct {
	Nodes     int               // default 5
	Agents    bool              // bin/bbagent, in place of agents played by this process
	Redis     []string          // more arguments of redis-server
	Config    string            // more of lbd.yaml
	Upstreams string            // `upstreams:` of lbd.yaml; default: app_backend. CONF.D stands for the folder that Nginx includes
	Files     map[string]string // below the site's folder, before lbd starts
	Reload    string            // `nginx.reload:` of lbd.yaml; default: signal. SITE stands for the site's folder
	Mounts    []string          // folders below lbd's Nginx's that get a small file system of their own
	DNS       bool              // a name server that lies; SITE_DNS stands for its address in Config
	Sentinel  bool              // two Redis and a Sentinel, and everybody asks it for the master
}

// Result is what a row came to.
type Result struct {
	Name     string           `json:"name"`
	Engine   string           `json:"engine"`
	Does     string           `json:"does"`
	MustHold string           `json:"must_hold"`
	Requests int64            `json:"requests"`
	Failed   int64            `json:"failed"`
	Control  int64            `json:"control_failed"` // failed at the control
	Reasons  map[string]int64 `json:"failed_by_reason"`
	More     int64            `json:"allowed_more"`
	Repeated int64            `json:"repeated"` // requests that Nginx had to try at another node
	Reloads  int64            `json:"reloads"`  // of lbd's Nginx
	Converge float64          `json:"converge_s"`
	Seconds  float64          `json:"seconds"` // the row took
	Wrong    string           `json:"wrong"`   // "": all held
	Before   []string         `json:"before"`  // what was wrong when it was played before, and why that was no proof
	Skipped  string           `json:"skipped"` // why this machine can't play it; "": it was played
}

func allRows() []Row {
	return slices.Concat(redisRows(), redisNetRows(), nginxRows(), lbdRows(), lbdOperatorRows(), diskRows(), poolRows(), hostileRows(), liveRows())
}

// choose returns what to play: the rows whose name is asked for, or without that all of them, or those of a short run;
// each with each of the engines.
func choose(rows []Row, o options) (chosen []game, leftOut []string, err error) {
	for _, engine := range engines {
		for i := range rows {
			r := &rows[i]
			short := r.Short
			switch {
			case r.Engines != nil && !slices.Contains(r.Engines, engine): // it makes no sense
				continue
			case o.engines != nil && !slices.Contains(o.engines, engine):
				continue
			case o.engines == nil && engine != byReload:
				if short = slices.Contains(r.ShortLive, engine); !short || !o.short {
					continue
				}
			}
			switch {
			case o.only != nil && !o.only.MatchString(r.Name): // nobody asked for it
			case o.only == nil && o.short && !short:
				leftOut = append(leftOut, title(r.Name, engine))
			default:
				chosen = append(chosen, game{r, engine})
			}
		}
	}
	if len(chosen) == 0 {
		err = cli.Usagef("no row is called %s (see --list)", o.only)
	}
	return chosen, leftOut, err
}

// title names a row and its engine, if that is not the usual one.
func title(name, engine string) string {
	if engine == byReload {
		return name
	}
	return name + " (" + engine + ")"
}

// play plays the rows one after another: side by side they would take the time from each other. When ctx ends, so do
// the rows. Progress goes to log.
func play(ctx context.Context, o options, games []game, log io.Writer) *results {
	res := &results{At: time.Now().UTC().Truncate(time.Second), Short: o.short}
	for _, g := range games {
		if ctx.Err() != nil {
			res.Interrupted = true
			break
		}
		got := g.play(ctx, o, log)
		res.Rows = append(res.Rows, got)
		fmt.Fprintln(log, got.line())
	}
	return res
}

// play plays one row, again when it did not hold on a machine that stood still.
func (g *game) play(ctx context.Context, o options, log io.Writer) Result {
	var before []string
	for {
		still := watchStill()
		res := g.once(ctx, o, log)
		res.Before = before
		why := res.again(still(), len(before)+1)
		if why == "" || ctx.Err() != nil {
			return res
		}
		before = append(before, res.Wrong+" ("+why+")")
		fmt.Fprintf(log, "%s: %s: played again, for %s\n", res.Name, res.Wrong, why)
	}
}

// once plays one row on a site of its own.
func (g *game) once(ctx context.Context, o options, log io.Writer) Result {
	r := g.Row
	res := Result{Name: title(r.Name, g.engine), Engine: g.engine, Does: r.Does, MustHold: g.mustHold(), More: r.More}
	if g.engine == byResolve {
		res.More += r.MoreResolve
	}
	began := time.Now()
	s, err := startSite(ctx, o, g.engine, r.Setup)
	if err == nil {
		err = s.tell(r.Run)
		err = errors.Join(err, s.count(&res))
		most := s.operator.Load() + r.Reloads
		if g.engine == byResolve {
			most += r.ReloadsResolve
		}
		if err == nil && s.live() && r.Reloads >= 0 && res.Reloads > most {
			err = fmt.Errorf("%d reloads, want at most %d: peers go in without", res.Reloads, most)
		}
	}
	if said := s.state(); err != nil {
		fmt.Fprintf(log, "%s: %v\n%s", res.Name, err, said)
	}
	s.keep = o.keep && err != nil
	err = errors.Join(err, s.close())
	if s.keep {
		fmt.Fprintf(log, "kept: %s\n", s.dir)
	}
	res.Seconds = seconds(time.Since(began))
	res.judge(err)
	return res
}

// judge says what became of the row, of which err is what did not hold.
func (res *Result) judge(err error) {
	switch {
	case errors.Is(err, errCannot):
		res.Skipped = err.Error()
	case err != nil:
		res.Wrong = err.Error()
	case res.Requests == 0:
		res.Wrong = "no request was sent: nothing is proven"
	case res.Failed > res.Control+res.More:
		res.Wrong = fmt.Sprintf("%d requests failed, %d at the control (%d more are allowed): %v", res.Failed, res.Control, res.More, res.Reasons)
	}
}

// errCannot wraps why this machine can't play a row.
var errCannot = errors.New("not played here")

// tell runs a row on a goroutine of its own: the first word that does not hold ends it, as in a Go test.
func (s *Site) tell(run func(*Site)) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				s.wrong = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		run(s)
	}()
	<-done
	return s.wrong
}

// must ends the row when there is an error.
func (s *Site) must(err error) {
	if err != nil {
		s.wrong = err
		runtime.Goexit()
	}
}

func (s *Site) fail(format string, args ...any) { s.must(fmt.Errorf(format, args...)) }

// atEnd has f called when the row is over, the last one first.
func (s *Site) atEnd(f func() error) { s.closers = append(s.closers, f) }

// close ends what was started.
func (s *Site) close() error {
	var errs []error
	for len(s.closers) > 0 {
		last := len(s.closers) - 1
		f := s.closers[last]
		s.closers = s.closers[:last]
		errs = append(errs, f())
	}
	if s.dir != "" && !s.keep {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }
