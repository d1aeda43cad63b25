package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"
)

// outage says once that Redis fails, once more when the kind of failure changes, and once that it is over. It belongs
// to one goroutine.
type outage struct {
	log   *slog.Logger
	what  string    // what it holds up, for the log
	since time.Time // zero: none
	kind  bool      // unreachable, of the failure last logged
}

func (o *outage) on() bool { return !o.since.IsZero() }

func (o *outage) failed(err error) {
	kind := unreachable(err)
	if o.on() && o.kind == kind {
		o.log.Debug("redis fails still", "error", err)
		return
	}
	if !o.on() {
		o.since = time.Now()
	}
	o.kind = kind
	o.log.Warn("redis fails, trying on", "for", o.what, "error", err)
}

func (o *outage) over() {
	if o.on() {
		o.log.Info("redis is back", "for", o.what, "after", time.Since(o.since).Round(time.Millisecond).String())
		o.since = time.Time{}
	}
}

// pause is the time until the next try: short while the last heartbeat may still live, so that a blink of Redis costs
// no traffic, and never the same on all nodes.
func (o *outage) pause(ttl time.Duration) time.Duration {
	p := time.Second
	if time.Since(o.since) > ttl {
		p = 5 * time.Second
	}
	return p + rand.N(p/4)
}

// unreachable tells a Redis that does not answer from one that answers with an error (a wrong password, a missing
// right).
func unreachable(err error) bool {
	var n net.Error
	return errors.As(err, &n) || errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded)
}
