package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ErrNoLB says that no load balancer ever wrote an Ack, so that nobody can say what is served.
var ErrNoLB = errors.New("no load balancer is known to this redis")

// Blocker is one load balancer that a wait is not done with.
type Blocker struct {
	LB  string // "" when Redis itself did not answer
	Why string // for people; may hold foreign text
	// Holds says that its guard goes on serving a node against the pool's word, as it does with the last ones: to wait
	// longer helps only if others come back.
	Holds bool
	// Unseen says that nobody knows what its Nginx does: it is silent or blind. With one that is gone for good, to wait
	// longer does not help.
	Unseen bool
}

// WaitError is a wait that ended before it was done.
type WaitError struct {
	Blockers []Blocker // as of the last look; sorted by LB
	Err      error     // the context's
}

func (e *WaitError) Error() string {
	why := make([]string, len(e.Blockers))
	for i, b := range e.Blockers {
		why[i] = strings.TrimPrefix(b.LB+": "+b.Why, ": ")
	}
	if len(why) == 0 {
		why = []string{"no look at the load balancers was possible"}
	}
	return fmt.Sprintf("%s (%v)", strings.Join(why, "; "), e.Err)
}

func (e *WaitError) Unwrap() error { return e.Err }

// WaitDrained returns nil once no load balancer sends anything to ids any more: every one ever seen and not forgotten
// is proven to serve revision rev or a later one, holds none of ids against it, has had no old worker left since, and
// where it counts requests has none under way on ids; and none of ids is to get traffic again by then. A Redis that knows
// neither all of ids any more nor who forgot them may have lost load balancers with them: it is waited until it does.
// One that is silent blocks: its Nginx may still be sending. rev is the Change.Rev of the freezes, the highest of them.
//
// ctx should have a deadline; its end makes a *WaitError that names who is missing. ErrNoLB means that there is nobody
// to wait for, an *UnfrozenError that some of ids are back in traffic. An error of Redis is waited out, as a Blocker.
// report, if not nil, is called after each look that found blockers, from this goroutine.
func (p *Pool) WaitDrained(ctx context.Context, rev int64, ids []string, report func([]Blocker)) error {
	// Old workers of a later reload never knew the nodes: once none was left, later ones do not count.
	ended := map[string]bool{}
	stillOut := func() (bool, error) {
		newest, err := p.stillOut(ctx, rev, ids)
		if err == nil && newest > rev { // one was back for a moment: all that was proven is older than that
			rev = newest
			clear(ended)
			return false, nil
		}
		return err == nil, err
	}
	return p.waitLBs(ctx, report, stillOut, func(b *LB) Blocker {
		switch {
		case b.Silent:
			return Blocker{Why: silence(b) + ", its Nginx may still send", Unseen: true}
		case b.Blind:
			delete(ended, b.ID)
			return Blocker{Why: "can't see its Nginx, which may still send" + lastError(b), Unseen: true}
		case b.Rev < rev:
			delete(ended, b.ID) // also after a roll back
			return Blocker{Why: behind(b)}
		}
		if i := slices.IndexFunc(ids, func(id string) bool { return slices.Contains(b.Held, id) }); i >= 0 {
			delete(ended, b.ID)
			return Blocker{Why: holds(b, ids[i]), Holds: true}
		}
		if busy := busyOn(b, ids); busy != "" {
			delete(ended, b.ID) // should it stop counting, its old workers have to end
			return Blocker{Why: busy}
		}
		if b.Draining == 0 {
			ended[b.ID] = true
		}
		if !ended[b.ID] {
			return Blocker{Why: fmt.Sprintf("%s still draining%s", plural(b.Draining, "old worker"), oldWorkers(b))}
		}
		return Blocker{}
	})
}

// busyOn says what is under way on ids; "" for nothing.
func busyOn(b *LB, ids []string) string {
	var words []string
	for _, id := range ids {
		if n := b.Busy[id]; n > 0 {
			words = append(words, plural(n, b.Counts())+" under way on "+id)
		}
	}
	return strings.Join(words, ", ")
}

// WaitServed is WaitDrained for a change that adds: it returns nil once every load balancer serves revision rev or a
// later one and refuses none of ids. An Ack names 100 refused nodes at most: of those beyond nobody says so.
func (p *Pool) WaitServed(ctx context.Context, rev int64, ids []string, report func([]Blocker)) error {
	return p.waitLBs(ctx, report, nil, func(b *LB) Blocker {
		switch {
		case b.Silent:
			return Blocker{Why: silence(b), Unseen: true}
		case b.Blind:
			return Blocker{Why: "can't see its Nginx" + lastError(b), Unseen: true}
		case b.Rev < rev:
			return Blocker{Why: behind(b)}
		}
		if i := slices.IndexFunc(b.Refused, func(r Refusal) bool { return slices.Contains(ids, r.ID) }); i >= 0 {
			return Blocker{Why: fmt.Sprintf("refuses %s: %s", b.Refused[i].ID, b.Refused[i].Why)}
		}
		return Blocker{}
	})
}

// backFor is how long nodes are back in traffic before a wait for their drain gives up though load balancers still are
// not done: while they get requests those never are. One that is back for a moment only is waited for.
const backFor = 3 * time.Second

// waitLBs looks until look finds no reason (Why "") with any load balancer, and done, if not nil, agrees then; an
// *UnfrozenError of it that lasts for backFor ends the wait before that. Acks are not announced by an event, so it looks every
// 20 ms for a second, in which most reloads are over, and less and less often later, down to every 250 ms.
func (p *Pool) waitLBs(ctx context.Context, report func([]Blocker), done func() (bool, error), look func(*LB) Blocker) error {
	var blockers []Blocker
	began, pause := time.Now(), 20*time.Millisecond
	var asked, back time.Time // when done was asked last, and since when some are back; zero: they are not
	for {
		ended := false
		lbs, err := p.LBs(ctx)
		if err == nil {
			blockers = blocking(lbs, look)
			ended = len(blockers) == 0
		}
		if now := time.Now(); err == nil && done != nil && (ended || now.Sub(asked) >= backFor) {
			agrees, no := done()
			asked = now
			unfrozen := new(UnfrozenError)
			switch is := errors.As(no, &unfrozen); {
			case is && (ended || !back.IsZero()):
				unfrozen.Drained = ended
				return no
			case is:
				back = now
			default:
				back = time.Time{}
			}
			if ended {
				ended, err = agrees, no
			}
		}
		switch {
		case ctx.Err() != nil:
			return &WaitError{Blockers: blockers, Err: ctx.Err()}
		case err != nil:
			blockers = []Blocker{{Why: err.Error()}}
		case ended && len(lbs) == 0:
			return ErrNoLB
		case ended:
			return nil
		}
		if report != nil && len(blockers) > 0 {
			report(blockers)
		}
		select {
		case <-ctx.Done():
			return &WaitError{Blockers: blockers, Err: ctx.Err()}
		case <-time.After(pause):
		}
		if time.Since(began) > time.Second {
			pause = min(pause*3/2, 250*time.Millisecond)
		}
	}
}

func blocking(lbs []LB, look func(*LB) Blocker) (blockers []Blocker) {
	for i := range lbs {
		if b := look(&lbs[i]); b.Why != "" {
			b.LB = lbs[i].ID
			blockers = append(blockers, b)
		}
	}
	return blockers
}

// oldWorkers names those that take long, and what they wait for.
func oldWorkers(b *LB) string {
	var words []string
	for _, w := range b.Old {
		has := plural(w.Connections, "connection")
		if w.Connections < 0 {
			has = "connections unknown"
		}
		words = append(words, fmt.Sprintf("pid %d: %s", w.PID, has))
	}
	if len(words) == 0 {
		return ""
	}
	return " (" + strings.Join(words, ", ") + ")"
}

// silence says for how long nothing was heard of b, as far as Redis remembers: coarse, since each change of it is told
// to whoever waits.
func silence(b *LB) string {
	switch d := b.SilentFor; {
	case d < time.Minute:
		return "silent"
	case d < time.Hour:
		return fmt.Sprintf("silent %dm", int(d.Minutes()))
	default:
		return fmt.Sprintf("silent %dh", int(d.Hours()))
	}
}

// holds says why b goes on serving a node: its error names an upstream that left its config.
func holds(b *LB, id string) string {
	why := fmt.Sprintf("holds %s: its guard goes on serving it", id)
	if b.Error != "" {
		why += ", or this: " + b.Error
	}
	return why
}

func behind(b *LB) string {
	if b.Rev == 0 { // as after a start of lbd, or while it serves a former generation
		return "serves no proven revision" + lastError(b)
	}
	return fmt.Sprintf("still serves rev %d", b.Rev) + lastError(b)
}

func lastError(b *LB) string {
	if b.Error == "" {
		return ""
	}
	return ", its last error: " + b.Error
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
