package main

import (
	"sync"
	"time"
)

const (
	// stillMost is how long this machine may stand still before a row that did not hold proves nothing: this process is
	// also the agents, and half a beat more or less decides whether a heartbeat is there in time.
	stillMost = beatEvery / 2

	// playsMost is how often a row is played when it may have been the machine that did not hold.
	playsMost = 3
)

// again tells why a row that did not hold is to be played again: the machine stood still for so long. "": it is not.
func (res *Result) again(still time.Duration, plays int) (why string) {
	if res.Wrong == "" || plays >= playsMost || still < stillMost {
		return ""
	}
	return "this machine stood still for " + still.Round(time.Millisecond).String()
}

// watchStill begins to watch for moments at which the machine stands still; the function that it returns ends that and
// tells how long the longest was.
func watchStill() (longest func() time.Duration) {
	const turn = 20 * time.Millisecond
	over := make(chan struct{})
	var most time.Duration
	var ended sync.WaitGroup
	ended.Go(func() {
		for {
			began := time.Now()
			select {
			case <-over:
				return
			case <-time.After(turn):
			}
			most = max(most, time.Since(began)-turn)
		}
	})
	return func() time.Duration { close(over); ended.Wait(); return most }
}
