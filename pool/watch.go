package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// Wake is one reason to look at the pool.
type Wake struct {
	Subscribed bool   // the subscription was made, or made again after a break: events may have been missed
	Event      *Event // nil when Subscribed, with Deaf, or when the message was not an event
	Deaf       error  // there is no subscription: why. Another Wake comes when there is one again
}

const (
	watchPing  = time.Second     // after so long without a message Redis is asked whether it is there
	watchAgain = 2 * time.Second // between tries to subscribe
)

// Watch calls fn for each subscription, each message on the channel and each break, until ctx ends, in order and from
// one goroutine; fn must be quick. It subscribes anew by itself, also when Redis refused it, and pings, so that a
// connection that died silently is noticed within seconds. It never depends on keyspace notifications. The error is
// ctx's.
func (p *Pool) Watch(ctx context.Context, fn func(Wake)) error {
	for ctx.Err() == nil {
		err := p.listen(ctx, fn)
		if ctx.Err() != nil {
			break
		}
		fn(Wake{Deaf: p.Explain(fmt.Errorf("subscribe to %s: %w", p.channel, err))})
		select {
		case <-ctx.Done():
		case <-time.After(watchAgain):
		}
	}
	return ctx.Err()
}

// listen subscribes once, and returns when that is over.
func (p *Pool) listen(ctx context.Context, fn func(Wake)) error {
	sub := p.rdb.Subscribe(ctx, p.channel)
	defer sub.Close()
	stop := context.AfterFunc(ctx, func() { _ = sub.Close() }) // a read is not interrupted by a context
	defer stop()
	asked, subscribed := false, false
	for {
		m, err := sub.ReceiveTimeout(ctx, watchPing)
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			if asked || !subscribed {
				return errors.New("no answer")
			}
			asked = true
			if err := sub.Ping(ctx); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		asked = false
		switch m := m.(type) {
		case *redis.Subscription:
			subscribed = true
			fn(Wake{Subscribed: true})
		case *redis.Message:
			fn(Wake{Event: decodeEvent(m.Payload)})
		}
	}
}
