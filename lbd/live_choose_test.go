package lbd

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bazbeans/bazbeans/resolvers"
)

// aKind is a live engine in name.
type aKind struct{ liveKind }

func (aKind) name() string { return "lua" }
func (aKind) ready() error { return nil }
func (aKind) giveBack()    {}
func (aKind) close()       {}

// A live engine that keeps failing is tried ever more rarely, and one that worked for a while soon again. When that is stands
// in the log and in /status.
func TestWhenToGoLiveAgain(t *testing.T) {
	for name, c := range map[string]struct {
		works time.Duration
		most  []time.Duration // to wait, a fifth of chance left out
	}{
		"it keeps failing":    {10 * time.Second, []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 10 * time.Minute}},
		"it worked meanwhile": {5 * time.Minute, []time.Duration{time.Minute, time.Minute, time.Minute}},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			l := &LB{cfg: DefaultConfig(), log: slog.New(slog.NewTextHandler(&log, nil)), agenda: newAgenda(), engine: reloads{}, chain: &resolvers.Chain{}}
			l.cfg.Nginx.Apply = "live"
			l.chosen.retry = liveRetry
			shown := func() *time.Time { l.board.wants(l, &Plan{}); return l.board.status.Engine.NextTry }
			for i, want := range c.most {
				log.Reset()
				l.take(nil, "its control socket has gone", true)
				next := shown()
				if next == nil || !strings.Contains(log.String(), "next_try="+next.Format(time.RFC3339)) || !strings.Contains(log.String(), "SIGHUP") {
					t.Fatalf("%s: next try %v, and said: %s", name, next, log.String())
				}
				if wait := time.Until(*next); wait < want || wait > want*6/5 {
					t.Errorf("%s: it is tried again after %s for the %d. time, want %s", name, wait, i+1, want)
				}
				time.Sleep(time.Until(*next))
				l.take(aKind{}, "", true)
				if next := shown(); next != nil {
					t.Errorf("%s: next try at %s while it is live", name, next)
				}
				time.Sleep(c.works)
			}
		})
	}
}
