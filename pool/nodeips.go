package pool

import (
	"context"
	"slices"

	"github.com/redis/go-redis/v9"
)

// NodeIPs returns what bazbeans:node_ips says of ids, as found there, in one round trip. An id without an entry is
// not in the map.
func (p *Pool) NodeIPs(ctx context.Context, ids []string) (map[string]string, error) {
	if len(ids) == 0 {
		return map[string]string{}, nil
	}
	found, err := within(ctx, func() (map[string]string, error) {
		return quickly(p, func() (map[string]string, error) { return p.nodeIPs(ctx, ids) },
			func() (map[string]string, error) { return p.carefulIPs(ctx, ids) })
	})
	if err != nil {
		return nil, p.Explain(err)
	}
	return found, nil
}

func (p *Pool) nodeIPs(ctx context.Context, ids []string) (map[string]string, error) {
	pipe := p.rdb.Pipeline()
	var cmds []*redis.SliceCmd
	for part := range slices.Chunk(ids, fieldsOnce) { // in chunks, so that no single command runs long
		cmds = append(cmds, pipe.HMGet(ctx, p.keys.nodeIPs(), part...))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	var values []any
	for _, cmd := range cmds {
		values = append(values, cmd.Val()...)
	}
	return texts(ids, values), nil
}

// texts pairs names with the values of an HMGET; a missing one is not in the map.
func texts(names []string, values []any) map[string]string {
	found := make(map[string]string, len(names))
	for i, v := range values {
		if text, ok := v.(string); ok {
			found[names[i]] = text
		}
	}
	return found
}
