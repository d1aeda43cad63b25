package pool_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// waiter runs a wait beside the test and keeps what it reports.
type waiter struct {
	reports chan []pool.Blocker
	done    chan error
}

func startWait(ctx context.Context, wait func(context.Context, func([]pool.Blocker)) error) waiter {
	w := waiter{make(chan []pool.Blocker), make(chan error, 1)}
	go func() {
		defer close(w.reports)
		w.done <- wait(ctx, func(b []pool.Blocker) {
			select {
			case w.reports <- b:
			case <-ctx.Done():
			}
		})
	}()
	return w
}

// want takes reports until one is as wanted.
func (w waiter) want(t *testing.T, want ...pool.Blocker) {
	t.Helper()
	var last []pool.Blocker
	for b := range w.reports {
		if last = b; slices.Equal(b, want) {
			return
		}
	}
	t.Fatalf("ended with %v; its last report %v, want %v", <-w.done, last, want)
}

func (w waiter) end(t *testing.T) error {
	t.Helper()
	for range w.reports { // let it look on
	}
	return <-w.done
}

func (w world) ack(t *testing.T, a pool.Ack) {
	t.Helper()
	if _, err := w.WriteAck(t.Context(), a, time.Minute); err != nil {
		t.Fatal(err)
	}
}

func TestWaitDrained(t *testing.T) {
	onEach(t, "every reason to wait, one after another", func(t *testing.T, w world) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := w.rdb.SAdd(ctx, "bazbeans:nodes:all", "web3").Err(); err != nil {
			t.Fatal(err)
		}
		drained := func(ctx context.Context, report func([]pool.Blocker)) error {
			return w.WaitDrained(ctx, 100, []string{"web3"}, report)
		}
		if err := drained(ctx, nil); !errors.Is(err, pool.ErrNoLB) {
			t.Fatalf("without load balancers: %v", err)
		}
		w.ack(t, pool.Ack{ID: "lb1", Rev: 99, Error: "test: no"})
		w.ack(t, pool.Ack{ID: "lb2", Rev: 120, Held: []string{"web1"}})
		w.ack(t, pool.Ack{ID: "lb3", Rev: 120})
		if err := w.rdb.Del(ctx, "bazbeans:lb:lb3").Err(); err != nil {
			t.Fatal(err)
		}
		wait := startWait(ctx, drained)
		silent := pool.Blocker{LB: "lb3", Why: "silent, its Nginx may still send", Unseen: true}
		wait.want(t, pool.Blocker{LB: "lb1", Why: "still serves rev 99, its last error: test: no"}, silent)
		w.ack(t, pool.Ack{ID: "lb1", Rev: 100, Held: []string{"web2", "web3"}})
		wait.want(t, pool.Blocker{LB: "lb1", Why: "holds web3: its guard goes on serving it", Holds: true}, silent)
		w.ack(t, pool.Ack{ID: "lb1", Rev: 100, Held: []string{"web3"}, Error: "upstream former is not in the config any more"})
		wait.want(t, pool.Blocker{LB: "lb1", Why: "holds web3: its guard goes on serving it, or this: upstream former is not in the config any more", Holds: true}, silent)
		w.ack(t, pool.Ack{ID: "lb1", Rev: 101, Draining: 2})
		wait.want(t, pool.Blocker{LB: "lb1", Why: "2 old workers still draining"}, silent)
		w.ack(t, pool.Ack{ID: "lb1", Rev: 101, Draining: 2, Old: []pool.OldWorker{{PID: 4711, Connections: 1}, {PID: 4712, Connections: -1}}})
		wait.want(t, pool.Blocker{LB: "lb1", Why: "2 old workers still draining (pid 4711: 1 connection, pid 4712: connections unknown)"}, silent)
		w.ack(t, pool.Ack{ID: "lb1", Rev: 101})
		wait.want(t, silent)
		// Workers that drain after a later reload never knew web3; a roll back may bring it back.
		w.ack(t, pool.Ack{ID: "lb1", Rev: 105, Draining: 1})
		w.ack(t, pool.Ack{ID: "lb2", Rev: 90})
		wait.want(t, pool.Blocker{LB: "lb2", Why: "still serves rev 90"}, silent)
		w.ack(t, pool.Ack{ID: "lb2", Error: "test: no"})
		wait.want(t, pool.Blocker{LB: "lb2", Why: "serves no proven revision, its last error: test: no"}, silent)
		w.ack(t, pool.Ack{ID: "lb2", Rev: 106, Draining: 1})
		wait.want(t, pool.Blocker{LB: "lb2", Why: "1 old worker still draining"}, silent)
		w.ack(t, pool.Ack{ID: "lb2", Rev: 106, Apply: "live", Live: "lua", Busy: map[string]int{"web3": 2, "web4": 9}})
		wait.want(t, pool.Blocker{LB: "lb2", Why: "2 requests under way on web3"}, silent)
		w.ack(t, pool.Ack{ID: "lb2", Rev: 106, Apply: "live", Live: "resolve", Busy: map[string]int{"web3": 1}})
		wait.want(t, pool.Blocker{LB: "lb2", Why: "1 connection under way on web3"}, silent)
		w.ack(t, pool.Ack{ID: "lb2", Rev: 106, Apply: "live", Live: "lua", Busy: map[string]int{"web4": 9}})
		wait.want(t, silent)
		if err := w.ForgetLB(ctx, "lb3", "ann"); err != nil {
			t.Fatal(err)
		}
		if err := wait.end(t); err != nil {
			t.Fatal(err)
		}
	})
}

func TestWaitServed(t *testing.T) {
	onEach(t, "revision, and no refusal", func(t *testing.T, w world) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		w.ack(t, pool.Ack{ID: "lb1", Rev: 99})
		wait := startWait(ctx, func(ctx context.Context, report func([]pool.Blocker)) error {
			return w.WaitServed(ctx, 100, []string{"web3"}, report)
		})
		wait.want(t, pool.Blocker{LB: "lb1", Why: "still serves rev 99"})
		w.ack(t, pool.Ack{ID: "lb1", Rev: 100, Refused: []pool.Refusal{{ID: "web1", Why: "no"}, {ID: "web3", Why: "address not in allow_networks"}}})
		wait.want(t, pool.Blocker{LB: "lb1", Why: "refuses web3: address not in allow_networks"})
		w.ack(t, pool.Ack{ID: "lb1", Rev: 100, Blind: true})
		wait.want(t, pool.Blocker{LB: "lb1", Why: "can't see its Nginx", Unseen: true})
		w.ack(t, pool.Ack{ID: "lb1", Rev: 100, Held: []string{"web3"}, Draining: 3, Refused: []pool.Refusal{{ID: "web1", Why: "no"}}})
		if err := wait.end(t); err != nil {
			t.Fatal(err)
		}
	})
}

func TestWaitDrainedEndsUndone(t *testing.T) {
	onEach(t, "names who is missing", func(t *testing.T, w world) {
		w.ack(t, pool.Ack{ID: "lb1", Rev: 99})
		ctx, cancel := context.WithCancel(t.Context())
		err := w.WaitDrained(ctx, 100, []string{"web3"}, func([]pool.Blocker) { cancel() })
		var we *pool.WaitError
		if !errors.As(err, &we) || !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		if got := fmt.Sprint(we.Blockers); got != "[{lb1 still serves rev 99 false false}]" {
			t.Error(got)
		}
		if got := err.Error(); got != "lb1: still serves rev 99 (context canceled)" {
			t.Error(got)
		}
	})
}
