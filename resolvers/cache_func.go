package resolvers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// CacheOptions bound what a Cache does with somebody's function.
type CacheOptions struct {
	TTL      time.Duration // how long an answer is good; default 60s, at least 1s
	Timeout  time.Duration // of one call, by its ctx; default 5s
	Parallel int           // calls at once; default 8, with Batch 2
}

func (o CacheOptions) limits(batch, parallel int) (limits, error) {
	l := limits{ttl: cmp.Or(o.TTL, time.Minute), timeout: cmp.Or(o.Timeout, 5*time.Second), parallel: cmp.Or(o.Parallel, parallel), batch: batch}
	switch {
	case l.ttl < time.Second:
		return l, fmt.Errorf("ttl %v is less than a second", l.ttl)
	case l.timeout < 0:
		return l, fmt.Errorf("timeout %v is negative", l.timeout)
	case l.parallel < 1 || l.parallel > 1000:
		return l, fmt.Errorf("parallel %d is not between 1 and 1000", l.parallel)
	}
	return l, nil
}

// Each makes a function that looks up one node a Resolver. It returns where the node is, ErrNotMine, or another error,
// which means "cannot know"; a *RefusedError says that there is an answer, and it is not acceptable. The function is
// called by several goroutines at once, and must return when its ctx ends.
func Each(fn func(ctx context.Context, id string) (Endpoint, error), o CacheOptions) (*Cache, error) {
	l, err := o.limits(1, 8)
	if err != nil {
		return nil, err
	}
	return newCache(func(ctx context.Context, asks []question) []finding {
		e, err := fn(ctx, asks[0].id)
		return []finding{found(e, err)}
	}, l), nil
}

// Batch is Each for a function that looks up any number of nodes in one call. Its answers are like a Resolver's: a
// node without one is "not mine", or "cannot know" if there is an error.
func Batch(fn func(ctx context.Context, ids []string) (Answers, error), o CacheOptions) (*Cache, error) {
	const all = 1 << 20
	l, err := o.limits(all, 2)
	if err != nil {
		return nil, err
	}
	return newCache(func(ctx context.Context, asks []question) []finding {
		ids := make([]string, len(asks))
		for i, q := range asks {
			ids[i] = q.id
		}
		answers, err := fn(ctx, ids)
		if err == nil {
			err = ErrNotMine
		}
		findings := make([]finding, len(asks))
		for i, q := range asks {
			if a, ok := answers[q.id]; ok {
				findings[i] = found(a.Endpoint, a.Err)
			} else {
				findings[i] = finding{err: err}
			}
		}
		return findings
	}, l), nil
}

// found is a finding that does not say how long it is good.
func found(e Endpoint, err error) finding {
	if err == nil && !e.Addr.IsValid() {
		err = errors.New("it gave neither an address nor an error")
	}
	return finding{Endpoint: e, err: err}
}
