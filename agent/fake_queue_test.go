package agent

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// fakeQueue is the part of a fakePool that has to do with commands; fakePool's mutex guards it but for the channel.
type fakeQueue struct {
	queue   chan pool.Command
	hand    []pool.Taken
	results map[string]pool.Result // by type of the command
	ids     []string               // of those that were begun
	before  pool.Begun             // if set, what Begin answers
	dropped []string               // why
	named   int
	lose    int // so many answers of Next are lost: what they would have told is in hand
	seen    int // most that InHand tells at once, as if they were large; 0: as many as asked
}

func newFakeQueue() fakeQueue {
	return fakeQueue{queue: make(chan pool.Command, 100), results: map[string]pool.Result{}}
}

func (f *fakePool) Next(ctx context.Context, _ string, wait time.Duration) (t pool.Taken, ok bool, err error) {
	f.mu.Lock()
	err = f.err
	f.mu.Unlock()
	if err != nil {
		return t, false, err
	}
	select {
	case t.Command = <-f.queue:
	case <-time.After(wait):
		return t, false, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if t.ID == "" {
		f.named++
		t.ID = fmt.Sprintf("py-%d", f.named)
	}
	f.hand = append(f.hand, t)
	if f.lose > 0 {
		f.lose--
		return pool.Taken{}, false, io.EOF
	}
	return t, true, nil
}

func (f *fakePool) InHand(ctx context.Context, _ string, n int) (hand []pool.Taken, more bool, err error) {
	n = min(n, cmp.Or(f.seen, n))
	_, err = f.call(ctx, func() { hand, more = slices.Clone(f.hand[:min(n, len(f.hand))]), len(f.hand) > n })
	return hand, more, err
}

func (f *fakePool) GiveBack(ctx context.Context, _ string, t pool.Taken) error {
	f.set(func(f *fakePool) { f.outOfHand(t) })
	f.queue <- t.Command
	return nil
}

func (f *fakePool) Begin(ctx context.Context, _, _ string, t pool.Taken) (b pool.Begun, err error) {
	_, err = f.call(ctx, func() {
		if b = f.before; b == (pool.Begun{}) {
			b.Run = true
			f.ids = append(f.ids, t.ID)
		}
	})
	return b, err
}

func (f *fakePool) Finish(ctx context.Context, t pool.Taken, r pool.Result) error {
	_, err := f.call(ctx, func() {
		f.outOfHand(t)
		if was := f.results[r.Type]; was.ID != r.ID || was.State == pool.Interrupted {
			f.results[r.Type] = r // what has ended stays
		}
	})
	return err
}

func (f *fakePool) Drop(ctx context.Context, _ string, t pool.Taken, why string) error {
	_, err := f.call(ctx, func() {
		f.outOfHand(t)
		f.dropped = append(f.dropped, why)
	})
	return err
}

func (f *fakePool) outOfHand(t pool.Taken) {
	if i := slices.IndexFunc(f.hand, func(o pool.Taken) bool { return o.ID == t.ID }); i >= 0 {
		f.hand = slices.Delete(f.hand, i, i+1)
	}
}

// came returns what a type of command came to, in one line.
func (f *fakePool) came(kind string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.results[kind]
	line := fmt.Sprintf("%s %s", r.ID, r.State)
	if r.Error != "" {
		line += ": " + r.Error
	}
	if r.ExitCode != nil {
		line += fmt.Sprintf(" code=%d", *r.ExitCode)
	}
	if r.Stdout != "" {
		line += " out=" + r.Stdout
	}
	if r.Output != nil {
		line += " " + string(r.Output)
	}
	return line
}
