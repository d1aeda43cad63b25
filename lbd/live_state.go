package lbd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bazbeans/bazbeans/lbd/nginx"
)

// State implements Engine.
func (e *liveEngine) State(ctx context.Context) (State, error) {
	s, err := e.reloads.State(ctx)
	if err != nil || !s.Up() || e.running == "" && !e.lost {
		return s, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	is, err := e.kind.State(ctx)
	if err != nil {
		return s, fmt.Errorf("ask nginx what is under way: %w", err)
	}
	gone, err := ended(is.Workers, s.Master)
	if err != nil {
		e.pushed = "" // to whom?
		e.kind.reached()
		return s, fmt.Errorf("ask nginx what is under way: %w", err)
	}
	if len(gone) > 0 {
		if err := e.kind.Forget(ctx, gone); err != nil {
			return s, fmt.Errorf("drop the counts of workers that have ended: %w", err)
		}
		if is, err = e.kind.State(ctx); err != nil {
			return s, fmt.Errorf("ask nginx what is under way: %w", err)
		}
	}
	s.Live, s.Generation, s.Pending, s.Trouble = e.kind.name(), is.Generation, is.Pending, is.Trouble
	if is.Lost && e.pushed != "" { // some other Lua code has emptied the shared dictionary
		e.log.Warn("nginx has lost the servers that it was told of: it is told again")
		e.pushed, s.Lost = "", true
	}
	if is.Trouble != "" { // its requests may not be in the counts
		if e.repeated {
			e.broken = is.Trouble
		}
		e.again = true
		s.Generation, s.Pending = 0, is.Trouble
	}
	s.Busy = map[string]int{}
	for key, n := range is.Busy {
		s.Busy[key.ID] += n
	}
	s.Draining -= e.countedIn(s.Leaving, is.Workers)
	e.slots.idle(is.Busy, time.Now())
	s.Written, s.Behind = e.files.state()
	return s, nil
}

// countedIn is how many of the leaving workers count all that they send themselves, so that nobody has to wait for their
// end: those that were seen at work while every upstream was live, and report.
func (e *liveEngine) countedIn(leaving, reporting []int) (n int) {
	counted := map[int]bool{}
	for _, pid := range reporting {
		left := slices.Contains(leaving, pid)
		if counted[pid] = e.counted[pid] || e.whole && !left; counted[pid] && left {
			n++
		}
	}
	e.counted = counted
	return n
}

// errStranger is wrapped when it is not the Nginx that is kept which answers.
var errStranger = errors.New("another nginx answers")

// ended returns those of the workers that have ended. The error says that it is not this master's Nginx that answers:
// another one has the same files, or a new binary runs beside the former.
func ended(workers []int, master int) (gone []int, err error) {
	if workers == nil || master == 0 { // its process ids may mean nothing here
		return nil, nil
	}
	for _, pid := range workers {
		if !nginx.WorkerOf(master, pid) {
			gone = append(gone, pid)
		}
	}
	if len(gone) == len(workers) {
		err = fmt.Errorf("%w: none of its workers %v is of master %d", errStranger, workers, master)
	}
	return gone, err
}
