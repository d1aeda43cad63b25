package pool

import (
	"context"
	"errors"
	"slices"

	"github.com/redis/go-redis/v9"
)

// Node looks at one node. The error is ErrNoSuchNode when it is neither registered nor active.
func (p *Pool) Node(ctx context.Context, id string) (*Node, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	nodes, err := p.some(ctx, []string{id}, slices.Concat(statusFields, textFields))
	if err != nil {
		return nil, err
	}
	if len(nodes) == 0 {
		return nil, noSuch(id)
	}
	return &nodes[0], nil
}

// some looks at nodes in two round trips, in the order of ids; those that are neither registered nor active are left out.
func (p *Pool) some(ctx context.Context, ids, fields []string) ([]Node, error) {
	nodes, err := within(ctx, func() ([]Node, error) {
		return quickly(p, func() ([]Node, error) { return p.lookAt(ctx, ids, p.fill, fields, true) },
			func() ([]Node, error) { return p.lookAt(ctx, ids, p.carefulFill, fields, false) })
	})
	if err != nil {
		return nil, p.Explain(err)
	}
	return nodes, nil
}

func (p *Pool) lookAt(ctx context.Context, ids []string, fill func(context.Context, []Node, []string, string) (bool, error), fields []string, freeze bool) ([]Node, error) {
	type read struct {
		all, active *redis.BoolCmd
		frozen      *redis.StringCmd
	}
	reads := make([]read, len(ids))
	pipe := p.rdb.Pipeline()
	for i, id := range ids {
		reads[i] = read{pipe.SIsMember(ctx, p.keys.all(), id), pipe.SIsMember(ctx, p.keys.active(), id), redis.NewStringResult("", redis.Nil)}
		if freeze {
			reads[i].frozen = pipe.HGet(ctx, p.keys.frozen(), id)
		}
	}
	_, _ = pipe.Exec(ctx) // its error is the first of theirs, and may hide a worse one
	var nodes []Node
	for i, r := range reads {
		if err := firstError(r.all.Err(), r.active.Err(), r.frozen.Err()); err != nil {
			return nil, err
		}
		if !r.all.Val() && !r.active.Val() {
			continue
		}
		n := Node{ID: ids[i], Registered: r.all.Val(), Active: r.active.Val()}
		if r.frozen.Err() == nil {
			n.Freeze = decodeFreeze(map[string]string{n.ID: r.frozen.Val()}, n.ID)
		}
		nodes = append(nodes, n)
	}
	_, err := fill(ctx, nodes, fields, "")
	return nodes, err
}

// firstError returns the first error that is not "no such key".
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
	}
	return nil
}
