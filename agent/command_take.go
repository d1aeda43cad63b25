package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/trust"
)

// takeWait is how long one wait on the queue lasts: the least that Redis can wait, since nothing interrupts it, and
// the agent's end waits for it. A command that comes meanwhile is taken at once.
const takeWait = time.Second

// laneMost is how many commands wait in memory for one lane; more stay in hand in Redis until there is room.
const laneMost = 16

// handSeen is how many commands in hand one look sees: all of them, since pool.Send lets no more than 1,000 wait.
const handSeen = 1024

// commander takes commands, judges them and gives them to their lanes.
//
// What it takes stays in hand in Redis until it has ended. So nothing is lost when an answer of Redis is, or the agent
// dies: a look at what is in hand finds it again. What was begun is known by the journal and by the command's record,
// and is not run twice.
type commander struct {
	a     *Agent
	lanes [lanes]chan job

	mu     sync.Mutex
	hand   map[string]bool // ids that this run has, until Redis knows what they came to
	untold []job           // ended, and Redis could not be told
	left   [lanes]bool     // some were left in hand in Redis since this lane was full; newer ones wait behind them
	back   []job           // taken and not begun when the agent ended
	seq    int             // of the last job
}

// job is a command that may run.
type job struct {
	seq    int // in the order they were taken
	t      pool.Taken
	c      pool.Command // what to run: for a signed one what the signed bytes say
	signer string       // whose key; "": not signed
	keep   time.Time    // see remember
	result pool.Result
}

// takeCommands carries commands out until ctx ends. What is taken after that, or not begun, goes back into the queue for
// the agent that comes next.
func (a *Agent) takeCommands(ctx context.Context) {
	err := a.openState(ctx)
	defer func() {
		if err := a.state.close(); err != nil {
			a.log.Warn("close the journal", "error", err)
		}
	}()
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		a.log.Error("the journal of commands is not in order", "error", err)
	}
	c := &commander{a: a, hand: map[string]bool{}}
	var running sync.WaitGroup
	for i := range c.lanes {
		c.lanes[i] = make(chan job, laneMost)
		running.Go(func() { c.work(ctx, c.lanes[i]) })
	}
	c.take(ctx)
	running.Wait()
	c.giveBack(ctx)
}

// take takes commands as they come. In between, and after an error, it looks at what is in hand.
func (c *commander) take(ctx context.Context) {
	o := outage{log: c.a.log, what: "commands"}
	poll := time.Duration(c.a.cfg.CommandPollInterval)
	first, looked, lost := true, time.Time{}, false
	for ctx.Err() == nil {
		var err error
		if first || time.Since(looked) >= poll || c.room() {
			if err = c.look(ctx, first, looked.IsZero()); err == nil {
				first, looked = false, time.Now()
			}
		}
		if err == nil {
			err = c.next(ctx)
		}
		if err == nil {
			o.over()
			lost = false
			continue
		}
		looked = time.Time{}
		if !unreachable(err) { // that is said by the heartbeats
			o.failed(err)
		} else if !lost { // one answer, it may be: a look finds at once what was in it
			lost = true
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(poll):
		}
	}
}

func (c *commander) next(ctx context.Context) error {
	// The end must not interrupt it: a command just taken would wait for the next agent.
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeWait+callMost)
	t, ok, err := c.a.pool.Next(wait, c.a.cfg.NodeID, takeWait)
	cancel()
	switch {
	case err != nil || !ok:
		return err
	case ctx.Err() != nil:
		c.seq++
		c.unbegun(job{seq: c.seq, t: t})
		return nil
	}
	c.receive(ctx, t, true)
	return nil
}

// look receives what is in hand in Redis and not here, and tells what could not be told. The first look also tells what
// an earlier run of the agent left. After an error, and at first, there may be anything in hand that it does not see.
func (c *commander) look(ctx context.Context, first, unsure bool) error {
	c.mu.Lock()
	untold, left := c.untold, c.left
	c.untold, c.left = nil, [lanes]bool{}
	c.mu.Unlock()
	before := map[string]entry{} // before anything of this run begins
	if first {
		before = c.a.state.journal.untold()
	}
	for _, j := range untold {
		c.tell(ctx, j)
	}
	call, cancel := context.WithTimeout(ctx, c.a.callLimit)
	defer cancel()
	hand, more, err := c.a.pool.InHand(call, c.a.cfg.NodeID, handSeen)
	if err != nil {
		return err
	}
	for _, t := range hand {
		if e, begun := before[t.ID]; begun && t.Err == nil {
			c.tell(ctx, job{t: t, result: c.earlier(e)})
			delete(before, t.ID)
			continue
		}
		c.receive(ctx, t, false)
	}
	if more { // some of those that were left are not seen yet: newer ones wait on
		c.mu.Lock()
		for i := range c.left {
			c.left[i] = c.left[i] || left[i] || unsure
		}
		c.mu.Unlock()
	}
	for _, e := range before { // Redis has lost them, or they are too many to see
		c.tell(ctx, job{result: c.earlier(e)})
	}
	return nil
}

// receive judges a command in hand and gives it to its lane. fresh says that it came from the queue just now: then one
// that is here already was sent twice.
func (c *commander) receive(ctx context.Context, t pool.Taken, fresh bool) {
	has := c.has(t.ID)
	e, known := c.a.state.journal.known(t.ID)
	switch {
	case t.Err != nil:
		c.drop(ctx, t, t.Err.Error())
		return
	case has && !fresh:
		return
	case has, known:
		c.drop(ctx, t, fmt.Sprintf("%s %s was seen before: it is not run twice", t.Type, t.ID))
		if !has { // sent again, or given back by a Redis that went back in time: then its record says that it waits
			c.tell(ctx, job{result: c.earlier(e)})
		}
		return
	}
	c.seq++
	j := job{seq: c.seq, t: t, c: t.Command}
	if err := c.judge(&j); err != nil {
		c.refuse(ctx, j, err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	lane := laneOf(j.c.Type)
	if len(c.lanes[lane]) == laneMost || c.left[lane] {
		c.left[lane] = true // it stays in hand in Redis
		return
	}
	c.hand[t.ID] = true
	c.lanes[lane] <- j // nobody else sends
}

// judge says why a command is not to be run.
func (c *commander) judge(j *job) error {
	a, now := c.a, time.Now()
	cmd, signer, err := a.rules.Load().admit(j.t, a.cfg.NodeID, a.state.own, now)
	if err != nil {
		return err
	}
	j.c, j.signer, j.keep = cmd, signer, remember(j.t, cmd, now)
	j.t.By = cmd.By
	if j.t.Signed != nil && cmd.Issued.Before(a.state.since) {
		return refuse("it was issued before this agent began to remember what it runs (%s), so it may have been run already: send it again", a.state.since.UTC().Format(time.RFC3339))
	}
	if _, known := a.knows(cmd.Type); !known {
		return refuse("unknown command %q; this agent knows %s", cmd.Type, strings.Join(a.commandTypes(), ", "))
	}
	return nil
}

func (c *commander) refuse(ctx context.Context, j job, err error) {
	j.result = c.resultOf(j)
	j.result.State, j.result.Error = pool.Refused, err.Error()
	if errors.Is(err, trust.ErrExpired) {
		j.result.State = pool.Expired
	}
	c.ended(ctx, j)
}

func (c *commander) resultOf(j job) pool.Result {
	return pool.Result{ID: j.t.ID, Node: c.a.cfg.NodeID, Type: j.t.Type, By: sender(j.t.Command)}
}

func (c *commander) has(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hand[id]
}

// room says that something was left in Redis and may fit in now.
func (c *commander) room() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, left := range c.left {
		if left && len(c.lanes[i]) < laneMost/2 {
			return true
		}
	}
	return false
}
