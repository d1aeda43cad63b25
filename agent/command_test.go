package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/trust"
)

type plugin map[string]Handler

func (p plugin) Handlers() map[string]Handler { return p }

// unsigned lets types of commands come without a signature.
func unsigned(types ...string) func(*Config) {
	return func(c *Config) { c.AllowUnsigned = append(c.AllowUnsigned, types...) }
}

func TestCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, unsigned("clear_cache", "start", "stop", "update", "odd", "fine", "slow", "no", "ran", "missing"))
		s.machine.set(12, 34)
		s.agent.HealthCheck("app", func(context.Context) error { return nil })
		s.agent.HealthCheck("db", func(context.Context) error { return errSick })
		s.agent.Handle("clear_cache", func(_ context.Context, c pool.Command) (any, error) {
			return map[string]any{"cleared": c.Args["count"]}, nil
		})
		s.agent.Use(plugin{
			"start":  func(context.Context, pool.Command) (any, error) { return nil, errors.New("no such unit") },
			"stop":   func(context.Context, pool.Command) (any, error) { panic("nil map") },
			"update": func(context.Context, pool.Command) (any, error) { return []int{1}, errors.New("half-way") },
			"odd":    func(context.Context, pool.Command) (any, error) { return make(chan int), nil },
			"fine":   func(context.Context, pool.Command) (any, error) { return nil, nil },
			"slow": func(context.Context, pool.Command) (any, error) {
				return nil, fmt.Errorf("pull: %w", context.DeadlineExceeded)
			},
			"no":  func(context.Context, pool.Command) (any, error) { return nil, &Refusal{"not on a Sunday"} },
			"ran": func(context.Context, pool.Command) (any, error) { return &Ran{ExitCode: 0, Stdout: "x"}, nil },
		})
		s.start()
		after(interval) // until its checks have answered
		for _, c := range []struct {
			command pool.Command
			want    string
		}{
			{pool.Command{Type: "freeze", Args: map[string]any{"reason": "new disk"}}, `py-1 succeeded {"changed":true,"rev":2}`},
			{pool.Command{Type: "unfreeze", ID: "C1", By: "eve"}, `C1 succeeded {"changed":true,"rev":3}`},
			{pool.Command{Type: "health_check"}, `py-2 succeeded {"healthy":false,"reason":"check db: no answer from the application",` +
				`"cpu_percent":12,"memory_percent":34,"disk_percent":0,"checks":{"app":"ok","db":"no answer from the application"}}`},
			{pool.Command{Type: "clear_cache", Args: map[string]any{"count": 3}}, `py-3 succeeded {"cleared":3}`},
			{pool.Command{Type: "start"}, `py-4 failed: no such unit`},
			{pool.Command{Type: "stop"}, `py-5 failed: panicked: nil map`},
			{pool.Command{Type: "update"}, `py-6 failed: half-way [1]`},
			{pool.Command{Type: "odd"}, `py-7 failed: json: unsupported type: chan int`},
			{pool.Command{Type: "fine"}, `py-8 succeeded`},
			{pool.Command{Type: "slow"}, `py-9 timed_out: pull: context deadline exceeded`},
			{pool.Command{Type: "no"}, `py-10 refused: not on a Sunday`},
			{pool.Command{Type: "ran"}, `py-11 succeeded code=0 out=x`},
			{pool.Command{Type: "exec", ID: "C2"}, `C2 refused: exec needs a signature by one of the node's trusted_keys (bbctl keygen makes a key), or its type in the node's allow_unsigned`},
			{pool.Command{Type: "missing"}, `py-12 refused: unknown command "missing"; this agent knows clear_cache, deploy_file, exec, fine, freeze, health_check, logs, no, odd, pull, ran, restart, slow, start, status, stop, unfreeze, update`},
			{pool.Command{Type: "freeze", Expires: time.Now().Add(-time.Hour)}, `py-13 expired: expired 1h0m0s ago, at 1999-12-31T23:00:10Z, by this node's clock`},
		} {
			s.pool.queue <- c.command
			after(time.Millisecond)
			if got := s.pool.came(c.command.Type); got != c.want {
				t.Errorf("%s: got\n%s\nwant\n%s", c.command.Type, got, c.want)
			}
		}
		if s.pool.freeze != nil {
			t.Error("an expired freeze was carried out")
		}
		if len(s.pool.hand) != 0 {
			t.Errorf("in hand at the end: %+v", s.pool.hand)
		}
		s.wantStop()
	})
}

// A long update holds up neither a freeze nor a look; two changes of the application never run together.
func TestLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, unsigned("update", "stop", "status"))
		release, running := make(chan struct{}), 0
		change := func(context.Context, pool.Command) (any, error) {
			if running++; running > 1 {
				t.Error("two changes at a time")
			}
			<-release
			running--
			return nil, nil
		}
		s.agent.Handle("update", change)
		s.agent.Handle("stop", change)
		s.agent.Handle("status", func(context.Context, pool.Command) (any, error) { return "fine", nil })
		s.start()
		for _, kind := range []string{"update", "stop", "status", "freeze"} {
			s.pool.queue <- pool.Command{Type: kind}
		}
		after(time.Millisecond)
		if s.pool.came("freeze") == " " || s.pool.came("status") != `py-3 succeeded "fine"` || len(s.pool.hand) != 2 {
			t.Errorf("freeze %s, status %s, in hand %+v", s.pool.came("freeze"), s.pool.came("status"), s.pool.hand)
		}
		close(release)
		after(time.Millisecond)
		if got := s.pool.came("stop"); got != "py-2 succeeded" {
			t.Error(got)
		}
		s.wantStop()
	})
}

// More commands than fit in memory wait in Redis, and are run in their order.
func TestMoreThanALaneHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, unsigned("update"))
		release := make(chan struct{})
		s.agent.Handle("update", func(context.Context, pool.Command) (any, error) { <-release; return nil, nil })
		s.start()
		var want []string
		for i := range 60 {
			s.pool.queue <- pool.Command{Type: "update"}
			want = append(want, fmt.Sprintf("py-%d", i+1))
		}
		after(time.Minute)
		s.pool.queue <- pool.Command{Type: "freeze", ID: "F"}
		after(time.Millisecond)
		if got := s.pool.came("freeze"); !strings.HasPrefix(got, "F succeeded") {
			t.Errorf("freeze behind a full lane: %s", got)
		}
		for range 10 {
			release <- struct{}{}
		}
		after(time.Millisecond)
		for i := range 5 { // newer ones do not overtake
			s.pool.queue <- pool.Command{Type: "update"}
			want = append(want, fmt.Sprintf("py-%d", 61+i))
		}
		after(time.Millisecond)
		close(release)
		after(time.Minute)
		if got := slices.DeleteFunc(s.pool.ids, func(id string) bool { return id == "F" }); !slices.Equal(got, want) {
			t.Errorf("run %q", got)
		}
		s.wantStop()
	})
}

// Quick commands are not run one lane full for each command_poll_interval: as soon as there is room it looks again. Also
// when they are so large that one look does not see all that are left, and what came before the agent did.
func TestBurst(t *testing.T) {
	for name, c := range map[string]struct{ seen, before int }{"small": {0, 0}, "large": {20, 0}, "before its start": {20, 60}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, unsigned("quick"))
				s.agent.Handle("quick", func(context.Context, pool.Command) (any, error) { time.Sleep(time.Millisecond); return nil, nil })
				s.pool.seen = c.seen
				var want []string
				for i := range 100 {
					cmd := pool.Command{Type: "quick", ID: fmt.Sprintf("C%d", i)}
					want = append(want, cmd.ID)
					if i < c.before {
						s.pool.hand = append(s.pool.hand, pool.Taken{Command: cmd})
					} else {
						s.pool.queue <- cmd
					}
				}
				s.start()
				after(2*time.Duration(s.agent.settings().CommandPollInterval) - time.Millisecond)
				if got := s.pool.ids; !slices.Equal(got, want) {
					t.Errorf("%d run: %q", len(got), got)
				}
				s.wantStop()
			})
		})
	}
}

// A command that was taken, and the answer lost on the way, runs at once, and before those behind it.
func TestAnswerOfTheQueueIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, unsigned("stop", "start"))
		for _, kind := range []string{"stop", "start"} {
			s.agent.Handle(kind, func(context.Context, pool.Command) (any, error) { return nil, nil })
			s.pool.queue <- pool.Command{Type: kind, ID: kind}
		}
		s.pool.lose = 1
		s.start()
		after(time.Second)
		if got := s.pool.ids; !slices.Equal(got, []string{"stop", "start"}) {
			t.Errorf("run %q", got)
		}
		s.wantStop()
	})
}

func TestSeenBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, unsigned("update"))
		runs := 0
		s.agent.Handle("update", func(context.Context, pool.Command) (any, error) {
			runs++
			time.Sleep(time.Second)
			return nil, nil
		})
		s.start()
		for range 3 {
			s.pool.queue <- pool.Command{Type: "update", ID: "C1", Expires: time.Now().Add(time.Minute)}
		}
		after(5 * time.Second)
		s.pool.queue <- pool.Command{Type: "update", ID: "C1", Expires: time.Now().Add(time.Hour)}
		after(time.Second)
		if runs != 1 || len(s.pool.dropped) != 3 || s.pool.dropped[0] != "update C1 was seen before: it is not run twice" {
			t.Errorf("run %d times, dropped %q", runs, s.pool.dropped)
		}
		s.wantStop()
	})
}

// What is in hand at the start may be there twice; the one that runs is not taken for one of an earlier run.
func TestTwoCopiesInHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, unsigned("update"))
		runs := 0
		s.agent.Handle("update", func(context.Context, pool.Command) (any, error) {
			runs++
			time.Sleep(time.Minute)
			return nil, nil
		})
		c := pool.Taken{Command: pool.Command{Type: "update", ID: "C1"}}
		s.pool.hand = []pool.Taken{c, c}
		s.start()
		after(2 * time.Minute)
		if got := s.pool.came("update"); got != "C1 succeeded" || runs != 1 || len(s.pool.hand) != 0 {
			t.Errorf("%s, run %d times, in hand %+v", got, runs, s.pool.hand)
		}
		s.wantStop()
	})
}

func TestNotTheirsToRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, unsigned("update"))
		s.agent.Handle("update", func(context.Context, pool.Command) (any, error) { t.Error("run"); return nil, nil })
		s.start()
		for _, c := range []struct {
			before        pool.Begun
			came, dropped string
		}{
			{pool.Begun{Before: pool.Running, Instance: "7/old"}, "C0 interrupted: begun by another run of this node's agent (instance 7/old), which did not say what came of it", "[]"},
			{pool.Begun{Before: pool.Unknown}, " ", "[]"},
			{pool.Begun{Before: pool.Succeeded}, " ", "[update C2 is succeeded already: it is not run twice]"},
		} {
			s.pool.set(func(f *fakePool) { f.before, f.hand = c.before, nil; clear(f.results) })
			s.pool.queue <- pool.Command{Type: "update", ID: fmt.Sprintf("C%d", map[pool.CommandState]int{pool.Unknown: 1, pool.Succeeded: 2}[c.before.Before])}
			after(time.Millisecond)
			if got := s.pool.came("update"); got != c.came || fmt.Sprint(s.pool.dropped) != c.dropped {
				t.Errorf("%s: came to %q, dropped %q", c.before.Before, got, s.pool.dropped)
			}
		}
		s.wantStop()
	})
}

// A result that Redis can't take is told when it can.
func TestResultWaitsForRedis(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, unsigned("update"))
		s.agent.Handle("update", func(context.Context, pool.Command) (any, error) {
			s.pool.set(func(f *fakePool) { f.err = errAway })
			return nil, nil
		})
		s.start()
		s.pool.queue <- pool.Command{Type: "update"}
		after(20 * time.Second)
		if got := s.pool.came("update"); got != " " || len(s.pool.hand) != 1 {
			t.Errorf("told %s", got)
		}
		s.pool.set(func(f *fakePool) { f.err = nil })
		after(10 * time.Second)
		if got := s.pool.came("update"); got != "py-1 succeeded" || len(s.pool.hand) != 0 || len(s.pool.ids) != 1 {
			t.Errorf("told %s, begun %q", got, s.pool.ids)
		}
		s.wantStop()
	})
}

// A command that waits for Redis to confirm it is not run once it is too old.
func TestCommandGrowsOldWhileRedisIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, unsigned("stop", "update"))
		s.agent.Handle("stop", func(context.Context, pool.Command) (any, error) {
			time.Sleep(30 * time.Second)
			s.pool.set(func(f *fakePool) { f.err = errAway })
			return nil, nil
		})
		s.agent.Handle("update", func(context.Context, pool.Command) (any, error) { t.Error("run"); return nil, nil })
		s.start()
		s.pool.queue <- pool.Command{Type: "stop"}
		s.pool.queue <- pool.Command{Type: "update", Expires: time.Now().Add(time.Minute)}
		after(90 * time.Second)
		s.pool.set(func(f *fakePool) { f.err = nil })
		after(10 * time.Second)
		if got := s.pool.came("update"); !strings.HasPrefix(got, "py-2 expired: expired ") {
			t.Error(got)
		}
		s.wantStop()
	})
}

func TestStoppedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, unsigned("update", "stop"))
		s.agent.Handle("update", func(ctx context.Context, _ pool.Command) (any, error) {
			<-ctx.Done()
			return nil, errors.New("killed")
		})
		s.start()
		for _, kind := range []string{"update", "stop", "update"} {
			s.pool.queue <- pool.Command{Type: kind}
		}
		after(time.Millisecond)
		s.wantStop()
		if got := s.pool.came("update"); got != "py-1 interrupted: the agent was stopped meanwhile: killed" {
			t.Error(got)
		}
		// What was not begun goes back; the real queue puts it at its head, so the newest first.
		if a, b := <-s.pool.queue, <-s.pool.queue; a.ID != "py-3" || b.ID != "py-2" {
			t.Errorf("back in the queue: %+v, %+v", a, b)
		}
	})
}

func TestUnknownTypeIsMadeHarmless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.start()
		s.pool.queue <- pool.Command{Type: "\x1b[2J"}
		after(time.Millisecond)
		if got := s.pool.came("\x1b[2J"); !strings.Contains(got, "refused") || strings.Contains(got, "\x1b") || s.log.count("\x1b") != 0 {
			t.Errorf("%q", got)
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
		s := newSite(t, unsigned("update"))
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

// An operator whose clock is ahead is waited for. If the command ran at once, an agent that forgot it would take it for one
// that was issued after it began to remember.
func TestCommandIssuedAheadIsNoReplay(t *testing.T) {
	key, err := trust.NewKey("ann")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		c := pool.NewCommand("count", "ann", time.Hour, nil)
		c.Issued = c.Issued.Add(trust.Skew - time.Second)
		c, err := c.Sign("n1", key, nil)
		if err != nil {
			t.Fatal(err)
		}
		var runs atomic.Int32
		run := func() *site { // each without a memory of what came before
			s := newSite(t, func(c *Config) { c.TrustedKeys = []string{key.Public().String()} })
			s.agent.Handle("count", func(context.Context, pool.Command) (any, error) { runs.Add(1); return nil, nil })
			s.start()
			s.pool.queue <- c
			return s
		}
		s := run()
		after(trust.Skew - 2*time.Second)
		if runs.Load() != 0 {
			t.Error("run before it was issued")
		}
		after(2 * time.Second)
		if got := s.pool.came("count"); runs.Load() != 1 || !strings.HasSuffix(got, " succeeded") {
			t.Errorf("run %d times: %s", runs.Load(), got)
		}
		s.wantStop()
		s = run()
		after(trust.Skew)
		if got := s.pool.came("count"); runs.Load() != 1 || !strings.Contains(got, "refused: it was issued before this agent began to remember") {
			t.Errorf("run %d times: %s", runs.Load(), got)
		}
		s.wantStop()
	})
}

// A signed command must be remembered for as long as it is valid, and longer.
func TestRemember(t *testing.T) {
	now := time.Now()
	signed := pool.Taken{Command: pool.Command{Signed: []byte("{}")}}
	for expires, want := range map[time.Duration]time.Duration{
		time.Minute:                 time.Minute + trust.Skew,
		trust.LifeMost:              trust.LifeMost + trust.Skew,
		trust.LifeMost + trust.Skew: trust.LifeMost + 2*trust.Skew, // issued ahead
		90 * 24 * time.Hour:         trust.LifeMost,                // not signed
	} {
		if keep := remember(signed, pool.Command{Type: "exec", Expires: now.Add(expires)}, now).Sub(now); keep != want {
			t.Errorf("valid for %v: known for %v, want %v", expires, keep, want)
		}
	}
}

// What waits in a lane is judged anew when its turn comes: a key may have been taken away meanwhile.
func TestKeyTakenAwayWhileItsCommandWaits(t *testing.T) {
	key, err := trust.NewKey("thief")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, func(c *Config) { c.TrustedKeys = []string{key.Public().String()} })
		release := make(chan struct{})
		s.agent.Handle("slow", func(context.Context, pool.Command) (any, error) { <-release; return nil, nil })
		s.agent.Handle("rm", func(context.Context, pool.Command) (any, error) { return nil, nil })
		s.start()
		after(interval)
		for _, kind := range []string{"slow", "rm"} {
			c, err := pool.NewCommand(kind, "x", time.Hour, nil).Sign("n1", key, nil)
			if err != nil {
				t.Fatal(err)
			}
			s.pool.queue <- c
			after(time.Second)
		}
		next := *s.agent.settings()
		next.TrustedKeys = nil
		if _, err := s.agent.Reload(next); err != nil {
			t.Fatal(err)
		}
		close(release)
		after(time.Second)
		if got := s.pool.came("slow"); !strings.Contains(got, " succeeded") {
			t.Errorf("begun before: %s", got)
		}
		if got := s.pool.came("rm"); !strings.HasSuffix(got, " refused: this node trusts no key: add the sender's to trusted_keys") {
			t.Errorf("begun after: %s", got)
		}
		s.wantStop()
	})
}
