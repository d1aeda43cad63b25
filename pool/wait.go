package pool

import (
	"context"
	"fmt"
	"time"
)

// pollEvery is how often a wait looks.
const pollEvery = 100 * time.Millisecond

// WaitResult is WaitResults for one command.
func (p *Pool) WaitResult(ctx context.Context, id string, changed func(Result)) (Result, error) {
	rs, err := p.WaitResults(ctx, []string{id}, changed)
	if len(rs) == 0 {
		return Result{ID: id, State: Unknown}, err
	}
	return rs[0], err
}

// WaitResults returns when all commands have ended, looking ten times a second at those that have not, in one round
// trip. changed, if not nil, is called from this goroutine with what is found first of each command and then whenever
// its state changes.
//
// Call it after Send: a command without a record has ended as Unknown, since Redis has lost it. A Redis that is away is
// waited for. ctx should have a deadline: a queued command whose node is down waits until then; the results are then
// what was last known, and the error is the context's.
func (p *Pool) WaitResults(ctx context.Context, ids []string, changed func(Result)) ([]Result, error) {
	all := make([]Result, len(ids))
	open := make([]int, len(ids)) // indices of those that have not ended
	for i, id := range ids {
		if err := CheckID(id); err != nil {
			return nil, fmt.Errorf("command %w", err)
		}
		all[i], open[i] = Result{ID: id, State: Unknown}, i
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	known := false
	for {
		asked := make([]string, len(open))
		for i, j := range open {
			asked[i] = ids[j]
		}
		found, err := p.Results(ctx, asked)
		if err != nil && Denied(err) {
			return all, err
		}
		if err == nil {
			left := open[:0]
			for i, j := range open {
				was := all[j].State
				all[j] = found[i]
				if changed != nil && (!known || was != found[i].State) {
					changed(found[i])
				}
				if !found[i].State.Ended() {
					left = append(left, j)
				}
			}
			open, known = left, true
		}
		if len(open) == 0 {
			return all, nil
		}
		select {
		case <-ctx.Done():
			return all, fmt.Errorf("wait for results: %w", ctx.Err())
		case <-tick.C:
		}
	}
}
