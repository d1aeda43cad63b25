package load

import (
	"errors"
	"net/http"
	"time"
)

// client is one keep-alive connection's goroutine. It takes the next slot of
// the schedule whenever it is free: early, then it sleeps until the slot is
// due, or late, then the request has waited for a connection. So the queue of
// an open loop needs no memory: it is the slots that nobody has taken yet.
type client struct {
	g     *Generator
	alarm *alarm
	conn  *conn // nil when there is none
}

// work returns when the schedule is over; then its owner wakes the alarm.
func (c *client) work() {
	defer c.drop()
	for {
		n := c.g.next.Add(1) - 1
		due := c.g.due(n)
		wait := time.Until(due)
		if wait > 0 {
			c.alarm.sleep(wait)
		}
		switch now := time.Now(); c.g.verdict(due, now) {
		case pastTheEnd:
			return
		case tooLate:
			c.g.bump(&c.g.counts.Dropped)
		case send:
			c.send(n, due, now, wait > 0)
		}
	}
}

// What becomes of a slot of the schedule.
type verdict int

const (
	send       verdict = iota
	tooLate            // dropped
	pastTheEnd         // not part of the schedule
)

func (g *Generator) verdict(due, now time.Time) verdict {
	end := g.end.Load()
	switch {
	case end != nil && !due.Before(*end):
		return pastTheEnd
	case end != nil && now.Sub(*end) > g.opts.Timeout:
		return tooLate
	case now.Sub(due).Seconds()*g.opts.Rate > float64(g.opts.MaxWaiting):
		return tooLate
	}
	return send
}

// send makes the request of slot n and records what became of it.
func (c *client) send(n int64, due, now time.Time, wasFree bool) {
	s := Sample{Scheduled: due, Start: now, Method: http.MethodGet}
	text := c.g.get
	if c.g.isPost(n) {
		s.Method, text = http.MethodPost, c.g.post
	}
	c.g.sent(s.Method, now.Sub(due), wasFree)
	var a answer
	a, s.Repeated, s.Err = c.request(s.Method, text, now.Add(c.g.opts.Timeout))
	s.Status, s.Node, s.End = a.status, a.node, time.Now()
	c.g.done(s)
	if c.g.opts.OnDone != nil {
		c.g.opts.OnDone(s)
	}
}

// request sends one request, on the connection there is or on a new one, and a
// second time where the rules in the package comment allow it: only on a
// connection that was in use before, so that there is no third time.
func (c *client) request(method string, text []byte, deadline time.Time) (a answer, repeated bool, err error) {
	for {
		if err := c.connect(deadline); err != nil {
			return a, repeated, err
		}
		fresh := !c.conn.used
		a, err = c.conn.exchange(text, deadline)
		var failed *Error
		if !errors.As(err, &failed) {
			if a.last {
				c.drop()
			}
			return a, repeated, nil
		}
		if failed.Err != nil || a.last {
			c.drop()
		}
		switch {
		case fresh || failed.Reason != ReasonClosed:
			return a, repeated, failed
		case errors.Is(failed, errNotWritten):
			c.g.bump(&c.g.counts.Reopened)
		case method == http.MethodGet:
			repeated = true
		default:
			return a, repeated, failed
		}
	}
}

// connect makes sure that there is a connection the server has not closed, as
// far as one can know.
func (c *client) connect(deadline time.Time) error {
	if c.conn != nil && c.conn.closed() {
		c.drop()
		c.g.bump(&c.g.counts.Reopened)
	}
	if c.conn != nil {
		return nil
	}
	conn, err := dial(c.g.addr, c.g.opts.NodeHeader, deadline)
	if err != nil {
		return &Error{Reason: ReasonConnect, Err: err}
	}
	c.g.bump(&c.g.counts.Connects)
	c.conn = conn
	return nil
}

func (c *client) drop() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}
