package pool_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

const queue = "bazbeans:node:web1:commands"

// send queues a command for web1.
func (w world) send(t *testing.T, kind string, args map[string]any) pool.Command {
	t.Helper()
	c := pool.NewCommand(kind, "ann@desk", time.Minute, args)
	if err := w.Send(t.Context(), "web1", c); err != nil {
		t.Fatal(err)
	}
	return c
}

// next takes web1's next command in hand.
func (w world) next(t *testing.T) pool.Taken {
	t.Helper()
	c, ok, err := w.Next(t.Context(), "web1", time.Second)
	if err != nil || !ok {
		t.Fatalf("no command to take: %v, %v", ok, err)
	}
	return c
}

func (w world) result(t *testing.T, id string) pool.Result {
	t.Helper()
	r, err := w.Result(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// kinds are the kinds of events in the stream, oldest first, with what they say.
func (w world) kinds(t *testing.T) []string {
	t.Helper()
	evs, err := w.Events(t.Context(), "", 100)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, e := range evs {
		said = append(said, e.Kind+" "+e.Reason)
	}
	return said
}

func TestLifeOfACommand(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		w.register(t, "web1")
		c := w.send(t, "exec", map[string]any{"command": "ls /"})
		if err := w.Send(ctx, "web1", c); err != nil {
			t.Errorf("sent again: %v", err)
		}
		if n := w.rdb.LLen(ctx, queue).Val(); n != 1 {
			t.Fatalf("%d commands queued, want 1", n)
		}
		r := w.result(t, c.ID)
		if r.State != pool.Queued || r.State.Ended() || r.Node != "web1" || r.Type != "exec" || r.By != "ann@desk" || time.Since(r.Queued) > time.Minute ||
			r.Expires.Sub(c.Expires).Abs() > time.Second || !r.Started.IsZero() {
			t.Errorf("queued: %+v", r)
		}
		if ttl := w.rdb.TTL(ctx, "bazbeans:command:"+c.ID).Val(); ttl < 23*time.Hour || ttl > 24*time.Hour {
			t.Errorf("record lives for %v", ttl)
		}

		taken := w.next(t)
		if taken.Err != nil || taken.ID != c.ID || taken.Text("command") != "ls /" || taken.By != "ann@desk" {
			t.Errorf("taken %+v", taken)
		}
		if hand, _, err := w.InHand(ctx, "web1", 10); err != nil || len(hand) != 1 || hand[0].ID != c.ID {
			t.Errorf("in hand: %+v, %v", hand, err)
		}
		for range 2 { // the second as go-redis does when the answer was lost
			if b, err := w.Begin(ctx, "web1", "7/host", taken); err != nil || !b.Run {
				t.Errorf("begin: %+v, %v", b, err)
			}
		}
		if b, err := w.Begin(ctx, "web1", "8/host", taken); err != nil || b.Run || b.Before != pool.Running || b.Instance != "7/host" {
			t.Errorf("begin by another: %+v, %v", b, err)
		}
		if r := w.result(t, c.ID); r.State != pool.Running || r.Started.IsZero() {
			t.Errorf("running: %+v", r)
		}
		three, ended := 3, time.Now()
		done := pool.Result{ID: c.ID, Node: "web1", Type: "exec", By: c.By, State: pool.Failed, Error: "exit code 3", ExitCode: &three,
			Stdout: "bin\n", Stderr: "no\x00 \xff", Output: json.RawMessage(`{"a":1}`), Started: ended.Add(-time.Second), Ended: ended}
		for range 2 {
			if err := w.Finish(ctx, taken, done); err != nil {
				t.Fatal(err)
			}
		}
		r = w.result(t, c.ID)
		if r.State != pool.Failed || r.Error != "exit code 3" || *r.ExitCode != 3 || r.Stdout != "bin\n" || r.Stderr != "no\x00 ?" || string(r.Output) != `{"a":1}` ||
			r.Took() != time.Second {
			t.Errorf("failed: %+v, took %v", r, r.Took())
		}
		if hand, _, err := w.InHand(ctx, "web1", 10); err != nil || len(hand) != 0 {
			t.Errorf("in hand after the end: %+v, %v", hand, err)
		}
		h := w.rdb.HGetAll(ctx, "bazbeans:node:web1:status").Val()
		if want := `{"status":"failed","id":"` + c.ID + `","error":"exit code 3","exit_code":3,"stdout":"bin\n","stderr":"no\u0000 ?","result":{"a":1}}`; h["status"] != "executed_exec" || h["details"] != want {
			t.Errorf("hash: %s\n got %s\nwant %s", h["status"], h["details"], want)
		}
		if b, err := w.Begin(ctx, "web1", "7/host", taken); err != nil || b.Run || b.Before != pool.Unknown {
			t.Errorf("begin what is not in hand: %+v, %v", b, err)
		}
		// It has ended: a later word does not change it.
		done.State = pool.Succeeded
		if err := w.Finish(ctx, taken, done); err != nil || w.result(t, c.ID).State != pool.Failed {
			t.Errorf("ended twice: %+v, %v", w.result(t, c.ID), err)
		}
		if got := w.kinds(t)[1:]; !slices.Equal(got, []string{"command_queued exec", "command_ended exec failed: exit code 3"}) {
			t.Errorf("events %q", got)
		}
	})
}

func TestInterruptedMayYetComeToSomething(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		w.register(t, "web1")
		c := w.send(t, "update", nil)
		taken := w.next(t)
		if _, err := w.Begin(t.Context(), "web1", "7/host", taken); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ say, want pool.CommandState }{
			{pool.Interrupted, pool.Interrupted}, {pool.Succeeded, pool.Succeeded}, {pool.Interrupted, pool.Succeeded},
		} {
			err := w.Finish(t.Context(), taken, pool.Result{ID: taken.ID, Node: "web1", Type: "update", State: c.say})
			if r := w.result(t, taken.ID); err != nil || r.State != c.want {
				t.Errorf("after %s: %s, want %s, error %v", c.say, r.State, c.want, err)
			}
		}
		if r := w.result(t, c.ID); r.By != "ann@desk" {
			t.Errorf("by %q", r.By)
		}
	})
}

// A command as the Python CLI pushes it has no id; it keeps the one that it is given.
func TestPythonsCommandIsGivenAnID(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		w.register(t, "web1")
		w.rdb.RPush(ctx, queue, `{"type": "exec", "command": "docker ps"}`)
		taken := w.next(t)
		if !strings.HasPrefix(taken.ID, "py-") || taken.Text("command") != "docker ps" {
			t.Fatalf("taken %+v", taken)
		}
		hand, _, err := w.InHand(ctx, "web1", 10)
		if err != nil || len(hand) != 1 || hand[0].ID != taken.ID {
			t.Fatalf("in hand: %+v, %v", hand, err)
		}
		if _, err := w.Result(ctx, taken.ID); !errors.Is(err, pool.ErrNoSuchCommand) {
			t.Errorf("before it is begun: %v", err)
		}
		if b, err := w.Begin(ctx, "web1", "7/host", hand[0]); err != nil || !b.Run {
			t.Fatalf("begin: %+v, %v", b, err)
		}
		if r := w.result(t, taken.ID); r.State != pool.Running || r.Type != "exec" || r.Queued.IsZero() {
			t.Errorf("running: %+v", r)
		}
		if err := w.Finish(ctx, taken, pool.Result{ID: taken.ID, Node: "web1", Type: "exec", State: pool.Succeeded}); err != nil {
			t.Fatal(err)
		}
		if d := w.rdb.HGet(ctx, "bazbeans:node:web1:status", "details").Val(); d != `{"status":"completed","id":"`+taken.ID+`"}` {
			t.Errorf("details %s", d)
		}
		// Taken by an agent that died before it could give the id: the next one does.
		w.rdb.RPush(ctx, "bazbeans:node:web1:taken", `{"type": "stop"}`)
		hand, _, err = w.InHand(ctx, "web1", 10)
		if err != nil || len(hand) != 1 || !strings.HasPrefix(hand[0].ID, "py-") {
			t.Errorf("in hand: %+v, %v", hand, err)
		}
	})
}

func TestWhatIsNoCommand(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		w.register(t, "web1")
		for raw, want := range map[string]string{
			`not JSON`:                             "invalid character",
			`[]`:                                   "cannot unmarshal array",
			`{}`:                                   "no type",
			`{"type":5}`:                           "type is no text",
			`{"type":"exec","id":{"a":1}}`:         "id is no text",
			`{"type":"exec","id":"a\nb"}`:          "not allowed",
			`{"type":"exec","by":["x"]}`:           "by is no text",
			`{"type":"exec","expires":"tomorrow"}`: "expires is no time",
			`{"type":"exec","expires":1e300}`:      "expires is no time",
			`{"type":"exec","issued":-1}`:          "issued is no time",
			`{"type":"` + strings.Repeat("x", 65) + `"}`: "longer than 64 bytes",
			strings.Repeat("[", 50000):                   "exceeded max depth",
			strings.Repeat("x", 10<<20):                  "10485760 bytes are more than 8388608",
		} {
			w.rdb.RPush(ctx, queue, raw)
			taken := w.next(t)
			if taken.Err == nil || !strings.Contains(taken.Err.Error(), want) || len(taken.Err.Error()) > 300 || taken.Type != "" {
				t.Errorf("%.60s: type %q, error %.400v, want %q", raw, taken.Type, taken.Err, want)
			}
			if err := w.Drop(ctx, "web1", taken, taken.Err.Error()); err != nil {
				t.Error(err)
			}
			if said := w.kinds(t); !strings.HasPrefix(said[len(said)-1], "command_refused unreadable command") {
				t.Errorf("%.60s: the last event is %q", raw, said[len(said)-1])
			}
		}
		if n := w.rdb.LLen(ctx, "bazbeans:node:web1:taken").Val(); n != 0 {
			t.Errorf("%d still in hand", n)
		}
	})
}

func TestSendRefuses(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		w.register(t, "web1")
		w.register(t, "web2")
		c := w.send(t, "exec", nil)
		for name, err := range map[string]error{
			"no id":        w.Send(ctx, "web1", pool.Command{Type: "exec"}),
			"another node": w.Send(ctx, "web2", c),
			"no type":      w.Send(ctx, "web1", pool.Command{ID: "a"}),
			"hostile id":   w.Send(ctx, "web1", pool.Command{Type: "exec", ID: "a b"}),
			"too long":     w.Send(ctx, "web1", pool.NewCommand("deploy_file", "", 0, map[string]any{"content": strings.Repeat("x", 8<<20)})),
		} {
			if err == nil {
				t.Errorf("%s: sent", name)
			}
		}
		rest := make([]any, 999)
		for i := range rest {
			rest[i] = `{"type":"exec"}`
		}
		w.rdb.RPush(ctx, "bazbeans:node:web1:taken", rest...)
		if err := w.Send(ctx, "web1", pool.NewCommand("exec", "", 0, nil)); !errors.Is(err, pool.ErrQueueFull) {
			t.Errorf("full: %v", err)
		}
	})
}

func TestCommandWithoutExpiryGetsOne(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		w.register(t, "web1")
		if err := w.Send(t.Context(), "web1", pool.Command{Type: "exec", ID: "C1"}); err != nil {
			t.Fatal(err)
		}
		if taken := w.next(t); time.Until(taken.Expires) < 4*time.Minute || time.Until(taken.Expires) > 5*time.Minute {
			t.Errorf("expires %v", taken.Expires)
		}
	})
}

func TestGiveBackIsTakenFirst(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		w.register(t, "web1")
		first, second := w.send(t, "exec", nil), w.send(t, "exec", nil)
		taken := w.next(t)
		if err := w.GiveBack(t.Context(), "web1", taken); err != nil {
			t.Fatal(err)
		}
		if got := []string{w.next(t).ID, w.next(t).ID}; !slices.Equal(got, []string{first.ID, second.ID}) {
			t.Errorf("taken %q, want %q, %q", got, first.ID, second.ID)
		}
	})
}

// What an operator removed while it was in hand does not come back, nor does it twice.
func TestGiveBackOfWhatWasRemoved(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		w.register(t, "web1")
		w.rdb.RPush(ctx, queue, `{"type": "unfreeze", "id": "C1"}`)
		taken := w.next(t)
		if _, err := w.Freeze(ctx, "web1", "ann", "swap"); err != nil {
			t.Fatal(err)
		}
		if err := w.GiveBack(ctx, "web1", taken); err != nil {
			t.Fatal(err)
		}
		if left := w.rdb.LRange(ctx, queue, 0, -1).Val(); len(left) != 0 {
			t.Errorf("queued again: %q", left)
		}
		c := w.send(t, "exec", nil)
		taken = w.next(t)
		for range 2 {
			if err := w.GiveBack(ctx, "web1", taken); err != nil {
				t.Fatal(err)
			}
		}
		if left := w.rdb.LRange(ctx, queue, 0, -1).Val(); len(left) != 1 || !strings.Contains(left[0], c.ID) {
			t.Errorf("queued: %q", left)
		}
	})
}

// What is larger than any answer that is read must not stand in the way of what comes after it.
func TestMonsterInTheQueue(t *testing.T) {
	w := open(t, serverstest.Redis(t).Addr())
	ctx := t.Context()
	w.register(t, "web1")
	inHand := func(n int) (hand []pool.Taken, more bool, err error) {
		more, err = patiently(func() (bool, error) {
			hand, more, err = w.InHand(ctx, "web1", n)
			return more, err
		})
		return hand, more, err
	}
	w.rdb.RPush(ctx, queue, strings.Repeat("x", 65<<20))
	// It is read, and is no command, or it is too large to be read.
	if taken, _, err := w.Next(ctx, "web1", time.Second); err == nil && taken.Err == nil {
		t.Fatal("taken as a command")
	}
	hand, _, err := inHand(10)
	if err != nil || len(hand) != 1 || hand[0].Err == nil || !strings.Contains(hand[0].Err.Error(), "68157440 bytes") {
		t.Fatalf("in hand: %+v, %v", hand, err)
	}
	if err := w.Drop(ctx, "web1", hand[0], "too large"); err != nil {
		t.Fatal(err)
	}
	c := w.send(t, "exec", nil)
	if taken := w.next(t); taken.ID != c.ID {
		t.Errorf("taken %+v", taken)
	}
	// Many large ones are told a few at a time.
	for range 5 {
		w.rdb.RPush(ctx, queue, `{"type":"exec","id":"A","content":"`+strings.Repeat("x", 7<<20)+`"}`)
		w.next(t)
	}
	if hand, more, err := inHand(10); err != nil || len(hand) != 3 || !more {
		t.Errorf("%d in hand, more %t, %v", len(hand), more, err)
	}
	w.rdb.LTrim(ctx, "bazbeans:node:web1:taken", 0, 1)
	for n, want := range map[int]bool{1: true, 2: false, 3: false} {
		if hand, more, err := inHand(n); err != nil || len(hand) != min(n, 2) || more != want {
			t.Errorf("of %d: %d in hand, more %t, %v", n, len(hand), more, err)
		}
	}
}

// An operator's word removes older ones about the same, in hand or not.
func TestFreezeRemovesAnUnfreezeInHand(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		w.register(t, "web1")
		w.rdb.RPush(ctx, queue, `{"type": "unfreeze", "id": "C1"}`)
		taken := w.next(t)
		if _, err := w.Freeze(ctx, "web1", "ann", "swap"); err != nil {
			t.Fatal(err)
		}
		if b, err := w.Begin(ctx, "web1", "7/host", taken); err != nil || b.Run || b.Before != pool.Unknown {
			t.Errorf("the older unfreeze may run: %+v, %v", b, err)
		}
	})
}

func TestResultsAreBounded(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		w.register(t, "web1")
		c := w.send(t, "exec", nil)
		long := "first\n" + strings.Repeat("\x01", 10<<20) + "\nlast"
		err := w.Finish(ctx, w.next(t), pool.Result{ID: c.ID, Node: "web1", Type: "exec", State: pool.Failed, Error: long, Stdout: long, Stderr: long,
			Output: json.RawMessage(`"` + long + `"`)})
		if err != nil {
			t.Fatal(err)
		}
		r := w.result(t, c.ID)
		if len(r.Stdout) > pool.OutputMost+100 || !strings.HasPrefix(r.Stdout, "first\n") || !strings.HasSuffix(r.Stdout, "\nlast") ||
			!strings.Contains(r.Stdout, "\n… 10420235 bytes left out …\n") {
			t.Errorf("stdout of %d bytes: %.20q … %q", len(r.Stdout), r.Stdout, r.Stdout[len(r.Stdout)-20:])
		}
		if len(r.Error) > 8<<10 || r.Output != nil {
			t.Errorf("error of %d bytes, output of %d", len(r.Error), len(r.Output))
		}
		d := w.rdb.HGet(ctx, "bazbeans:node:web1:status", "details").Val()
		if len(d) > 16<<10 || !json.Valid([]byte(d)) || !strings.Contains(d, "last") {
			t.Errorf("details of %d bytes: %.100s", len(d), d)
		}
	})
}

func TestLastCommands(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		w.register(t, "web1")
		var ids []string
		for range 60 {
			ids = append(ids, w.send(t, "exec", nil).ID)
		}
		slices.Reverse(ids)
		last, err := w.LastCommands(ctx, "web1", 100)
		if err != nil || len(last) != 50 || last[0].ID != ids[0] || last[49].ID != ids[49] {
			t.Fatalf("%d commands, %v", len(last), err)
		}
		c := pool.NewCommand("health_check", "ann", 0, nil)
		c.Unlisted = true
		if err := w.Send(ctx, "web1", c); err != nil {
			t.Fatal(err)
		}
		if r := w.result(t, c.ID); r.State != pool.Queued || r.Type != "health_check" {
			t.Errorf("one that is not listed: %+v", r)
		}
		if last, err = w.LastCommands(ctx, "web1", 1); err != nil || len(last) != 1 || last[0].ID != ids[0] {
			t.Errorf("%+v, %v", last, err)
		}
		w.rdb.Del(ctx, "bazbeans:command:"+ids[0])
		w.rdb.LPush(ctx, "bazbeans:node:web1:recent", "../hostile")
		if last, err = w.LastCommands(ctx, "web1", 4); err != nil || len(last) != 2 || last[0].ID != ids[1] {
			t.Errorf("%+v, %v", last, err)
		}
	})
}

func TestWaitResult(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		w.register(t, "web1")
		c, lost := w.send(t, "exec", nil), w.send(t, "exec", nil)
		heard := make(chan string, 10)
		var agent sync.WaitGroup
		agent.Go(func() {
			for _, want := range []string{"queued", "running"} {
				if got := <-heard; got != want {
					t.Errorf("heard %s, want %s", got, want)
				}
				if want == "queued" {
					taken := w.next(t)
					if _, err := w.Begin(ctx, "web1", "7/host", taken); err != nil {
						t.Error(err)
					}
				}
			}
			r := pool.Result{ID: c.ID, Node: "web1", Type: "exec", State: pool.Succeeded}
			if err := w.Finish(ctx, pool.Taken{}, r); err != nil {
				t.Error(err)
			}
		})
		r, err := w.WaitResult(ctx, c.ID, func(r pool.Result) { heard <- string(r.State) })
		if err != nil || r.State != pool.Succeeded {
			t.Fatalf("%+v, %v", r, err)
		}
		agent.Wait()
		if last := <-heard; last != "succeeded" {
			t.Errorf("heard %s at the end", last)
		}
		w.rdb.Del(ctx, "bazbeans:command:"+lost.ID)
		rs, err := w.WaitResults(ctx, []string{c.ID, lost.ID}, nil)
		if err != nil || rs[0].State != pool.Succeeded || rs[1].State != pool.Unknown || !rs[1].State.Ended() {
			t.Errorf("what Redis lost: %+v, %v", rs, err)
		}
		c = w.send(t, "exec", nil)
		short, stop := context.WithCancel(ctx)
		if r, err := w.WaitResult(short, c.ID, func(pool.Result) { stop() }); !errors.Is(err, context.Canceled) || r.State != pool.Queued {
			t.Errorf("nobody takes it: %+v, %v", r, err)
		}
		if _, err := w.WaitResult(ctx, "a b", nil); err == nil {
			t.Error("an id that is not allowed is waited for")
		}
	})
}

// A Redis that restarts with its data ends no wait.
func TestWaitResultOutlivesARestart(t *testing.T) {
	srv := serverstest.Redis(t)
	w := open(t, srv.Addr())
	w.register(t, "web1")
	c := w.send(t, "exec", nil)
	if err := w.rdb.Save(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	looked := make(chan struct{}, 1)
	done := make(chan pool.Result, 1)
	go func() {
		r, err := w.WaitResult(t.Context(), c.ID, func(pool.Result) {
			select {
			case looked <- struct{}{}:
			default:
			}
		})
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	<-looked
	if err := srv.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	serverstest.Eventually(t, time.Minute, func() error {
		return w.Finish(t.Context(), pool.Taken{}, pool.Result{ID: c.ID, Node: "web1", Type: "exec", State: pool.Succeeded})
	})
	if r := <-done; r.State != pool.Succeeded {
		t.Errorf("%+v", r)
	}
}
