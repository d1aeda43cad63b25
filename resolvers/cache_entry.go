package resolvers

import (
	"errors"
	"math/rand/v2"
	"time"
)

// question is one name in a look-up.
type question struct {
	id  string
	had Endpoint // the address at hand, or the zero Endpoint
}

// finding is what a look-up says about one question: an address when err is nil; ErrNotMine; a *RefusedError; any
// other error is "cannot know".
type finding struct {
	Endpoint
	err error
	ttl time.Duration // how long that is good; 0: the Cache's own
}

// entry is what is known about one node.
type entry struct {
	id    string
	had   Endpoint  // the address last known
	said  error     // the last certain word: nil for had, ErrNotMine, or a *RefusedError
	until time.Time // that word is good until then; zero: there has been none

	trouble  error // why the last look-up said nothing certain
	failures int   // look-ups in a row that said nothing certain
	gone     int   // of these, how often "not mine" was said

	due     time.Time // to be looked up again
	pending bool      // in a queue or being looked up
	since   time.Time // it is pending since
	asked   time.Time // somebody last asked
	waiters []*waiter
	told    Answer // what Resolve said last
	telling bool   // it has said something
}

func (e *entry) fresh(now time.Time) bool { return now.Before(e.until) }

// answer is what there is to say now. ErrNotMine is for the caller to leave out.
func (e *entry) answer(now time.Time) Answer {
	switch {
	case e.fresh(now) && e.said != nil:
		return Answer{Err: e.said}
	case e.fresh(now):
		return Answer{Endpoint: e.had}
	case e.trouble != nil:
		return Answer{Endpoint: e.had, Err: e.trouble}
	}
	return Answer{Endpoint: e.had, Err: errNotYet}
}

// learn takes in a finding.
func (e *entry) learn(f finding, ttl time.Duration, now time.Time) {
	if f.ttl > 0 {
		ttl = f.ttl
	}
	if errors.Is(f.err, ErrNotMine) && e.had.Addr.IsValid() && e.gone+1 < goneAfter {
		e.gone++
		e.failed(errGone, now)
		return
	}
	switch {
	case f.err == nil:
		e.had = f.Endpoint
	case errors.Is(f.err, ErrNotMine), IsRefused(f.err):
		e.had = Endpoint{}
	default:
		e.failed(f.err, now)
		return
	}
	e.said, e.until = f.err, now.Add(ttl)
	e.trouble, e.failures, e.gone = nil, 0, 0
	// Between three quarters and nine tenths of its time, so that not all names that were learnt together come
	// back together.
	e.due = now.Add(ttl*3/4 + jitter(ttl*3/20))
}

func (e *entry) failed(why error, now time.Time) {
	e.trouble = why
	pause := min(recheck<<min(e.failures, 8), slowest)
	e.failures++
	e.due = now.Add(pause + jitter(pause/5))
}

func jitter(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return rand.N(most)
}

// differs reports whether what there is to say is something else than what was said last. That a look-up failed that
// somebody waits for is news, too; that it failed again is none.
func (e *entry) differs(now time.Time) bool {
	if !e.telling {
		return false
	}
	a, b := e.told, e.answer(now)
	if a.Err == nil && b.Err == nil {
		return a.Endpoint != b.Endpoint
	}
	return verdict(a.Err) != verdict(b.Err) || errors.Is(a.Err, errNotYet) != errors.Is(b.Err, errNotYet)
}

// verdict puts the outcome that an error stands for into one word.
func verdict(err error) Outcome {
	switch {
	case err == nil:
		return Found
	case errors.Is(err, ErrNotMine):
		return NotMine
	case IsRefused(err):
		return Refused
	}
	return CannotKnow
}
