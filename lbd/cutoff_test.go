package lbd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/resolvers"
)

// What is under way when lbd ends, or makes place for another one at a SIGHUP, fails because of that, and is nobody's trouble.
func TestItsOwnEndIsNoTrouble(t *testing.T) {
	for _, call := range []string{"look", "apply", "state", "ack"} {
		t.Run(call, func(t *testing.T) {
			var log strings.Builder
			bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
				f.set("web1", "web2")
				time.Sleep(2 * time.Second)
				synctest.Wait()
				l.log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
				l.say.log = l.log
				e.set(func() { e.cut = call })
				f.mu.Lock()
				f.cut = call
				f.mu.Unlock()
				f.set("-web2")
				time.Sleep(500 * time.Millisecond)
				last := f.lastAck()
				t.Cleanup(func() { // when the loop has ended
					if now := f.lastAck(); now.Rev != last.Rev || now.Blind || now.Error != "" {
						t.Errorf("ack %+v", now)
					}
				})
			})
			if log.Len() > 0 {
				t.Error(log.String())
			}
		})
	}
}

// patientResolver has no answer before its caller's end.
type patientResolver struct{}

func (patientResolver) Resolve(ctx context.Context, _ []pool.Node) (resolvers.Answers, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestALookThatIsCutOffBlamesNoResolver(t *testing.T) {
	f := &fakePool{nodes: map[string]pool.Node{"web1": ours("web1", "10.0.0.1")}}
	l := withInventory(t, t.TempDir(), patientResolver{}, f)
	var log strings.Builder
	l.say.log = slog.New(slog.NewTextHandler(&log, nil))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.look(ctx); !errors.Is(err, context.Canceled) || log.Len() > 0 {
		t.Errorf("%v, and said: %s", err, log.String())
	}
}

// The live engine is not given up for a push that lbd's own end has cut off.
func TestOwnEndGivesNoEngineUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := &LB{log: silent, say: newSayer(silent), metrics: allMetrics(), engine: &channelGone{}, agenda: newAgenda()}
	if _, err := l.bring(ctx, &Plan{}); !errors.Is(err, errChannel) || l.chosen.why != "" {
		t.Errorf("%v, and went over to %s", err, l.chosen.String())
	}
}

// channelGone is an engine that can't tell Nginx of peers.
type channelGone struct{ fakeEngine }

func (*channelGone) Apply(ctx context.Context, _ *Plan) (Outcome, error) {
	return Outcome{}, fmt.Errorf("%w: %w", errChannel, ctx.Err())
}
