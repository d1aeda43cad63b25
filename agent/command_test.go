package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

type plugin map[string]Handler

func (p plugin) Handlers() map[string]Handler { return p }

func TestCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.machine.set(12, 34)
		s.agent.HealthCheck("app", func(context.Context) error { return nil })
		s.agent.HealthCheck("db", func(context.Context) error { return errSick })
		s.agent.Handle("clear_cache", func(_ context.Context, c pool.Command) (any, error) {
			return map[string]any{"cleared": c.Args["count"]}, nil
		})
		s.agent.Use(plugin{
			"start":  func(context.Context, pool.Command) (any, error) { return nil, errors.New("no such unit") },
			"stop":   func(context.Context, pool.Command) (any, error) { panic("nil map") },
			"update": func(context.Context, pool.Command) (any, error) { return strings.Repeat("x", resultMost), nil },
			"odd":    func(context.Context, pool.Command) (any, error) { return make(chan int), nil },
			"fine":   func(context.Context, pool.Command) (any, error) { return nil, nil },
		})
		s.start()
		after(time.Second) // the checks' first answers
		for _, c := range []struct {
			command pool.Command
			want    string
		}{
			{pool.Command{Type: "freeze", Args: map[string]any{"reason": "new disk"}}, `{"status":"completed","result":{"changed":true,"rev":2}}`},
			{pool.Command{Type: "unfreeze", ID: "C1", By: "eve"}, `{"status":"completed","id":"C1","result":{"changed":true,"rev":3}}`},
			{pool.Command{Type: "health_check"}, `{"status":"completed","result":{"healthy":false,"reason":"check db: no answer from the application",` +
				`"cpu_percent":12,"memory_percent":34,"disk_percent":0,"checks":{"app":"ok","db":"no answer from the application"}}}`},
			{pool.Command{Type: "clear_cache", Args: map[string]any{"count": 3}}, `{"status":"completed","result":{"cleared":3}}`},
			{pool.Command{Type: "start"}, `{"status":"failed","error":"no such unit"}`},
			{pool.Command{Type: "stop"}, `{"status":"failed","error":"panicked: nil map"}`},
			{pool.Command{Type: "update"}, `{"status":"completed","error":"its result of 65538 bytes is left out: more than 65536"}`},
			{pool.Command{Type: "odd"}, `{"status":"failed","error":"json: unsupported type: chan int"}`},
			{pool.Command{Type: "fine"}, `{"status":"completed"}`},
			{pool.Command{Type: "exec", ID: "C2"}, `{"status":"refused","id":"C2","error":"unknown command \"exec\"; this agent knows clear_cache, fine, freeze, health_check, odd, start, stop, unfreeze, update"}`},
			{pool.Command{Type: "freeze", Expires: time.Now()}, `{"status":"expired","error":"expired at 2000-01-01T00:00:01Z"}`},
		} {
			s.pool.queue <- c.command
			after(time.Millisecond)
			if got := toJSON(t, s.pool.report(c.command.Type)); got != c.want {
				t.Errorf("%s: got\n%s\nwant\n%s", c.command.Type, got, c.want)
			}
		}
		if s.pool.freeze != nil {
			t.Error("an expired freeze was carried out")
		}
		s.wantStop()
	})
}

func TestUnknownTypeIsMadeHarmless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.start()
		s.pool.queue <- pool.Command{Type: "\x1b[2J" + strings.Repeat("x", 1000)}
		after(time.Millisecond)
		if len(s.pool.reports) != 1 {
			t.Fatalf("reports %v", s.pool.reports)
		}
		for status := range s.pool.reports {
			if len(status) > 100 || strings.Contains(status, "\x1b") {
				t.Errorf("status %q", status)
			}
		}
		s.wantStop()
	})
}

func TestNoCommandIsLostAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.start()
		after(500 * time.Millisecond) // in the middle of a wait on the queue
		s.cancel()
		synctest.Wait()
		if len(s.pool.left) != 1 {
			t.Error("did not leave at once")
		}
		s.pool.queue <- pool.Command{Type: "freeze"}
		if err := <-s.ended; err != nil {
			t.Fatal(err)
		}
		select {
		case c := <-s.pool.queue:
			if c.Type != "freeze" {
				t.Errorf("%+v is in the queue", c)
			}
		default:
			t.Error("the command is neither carried out nor in the queue for the next agent")
		}
	})
}

func TestHandlerThatNeverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		release := make(chan struct{})
		s.agent.Handle("update", func(context.Context, pool.Command) (any, error) { <-release; return nil, nil })
		s.start()
		s.pool.queue <- pool.Command{Type: "update"}
		after(2*interval + time.Second)
		if n := len(s.pool.beats); n != 3 {
			t.Errorf("%d heartbeats, want 3", n)
		}
		if took, err := s.stop(); err != nil || took != stopLimit || len(s.pool.left) != 1 {
			t.Errorf("ended after %v, error %v, left %q", took, err, s.pool.left)
		}
		close(release)
	})
}

func TestMissingRightIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.start()
		after(time.Millisecond)
		take := errors.New("NOPERM")
		s.pool.set(func(f *fakePool) { f.err = take })
		after(8 * time.Second) // shorter than a heartbeat
		if n := s.log.count("NOPERM"); n != 1 || s.log.count("for=commands") != 1 {
			t.Errorf("said %d times, want 1:\n%s", n, s.log)
		}
		s.pool.set(func(f *fakePool) { f.err = nil })
		after(interval)
		s.wantStop()
	})
}
