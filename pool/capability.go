package pool

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Capabilities is what a node's agent says that it can do. It is foreign text: a SealKey may be a liar's, so compare it
// with the one that was seen first.
type Capabilities struct {
	Commands []string // types of commands, sorted; nil for a Python node, which does not say
	SealKey  string   // line of a trust.SealKey; "": it has none
}

// commandsMost bounds the types of commands that are believed of a node.
const commandsMost = 256

// Capabilities returns what nodes can do, in the order of ids, in one round trip.
func (p *Pool) Capabilities(ctx context.Context, ids ...string) ([]Capabilities, error) {
	all := make([]Capabilities, len(ids))
	if len(ids) == 0 {
		return all, nil
	}
	reads := make([]*redis.SliceCmd, len(ids))
	pipe := p.rdb.Pipeline()
	for i, id := range ids {
		if err := CheckID(id); err != nil {
			return nil, err
		}
		reads[i] = pipe.HMGet(ctx, p.keys.status(id), "commands", "seal_key")
	}
	if _, err := pipe.Exec(ctx); err != nil && !ofOneCommand(err) {
		return nil, p.Explain(fmt.Errorf("read commands of nodes: %w", err))
	}
	for i, cmd := range reads {
		if vs := cmd.Val(); len(vs) == 2 {
			all[i] = decodeCapabilities(vs[0], vs[1])
		}
	}
	return all, nil
}

func decodeCapabilities(commands, sealKey any) Capabilities {
	var c Capabilities
	text, _ := commands.(string)
	var types []string
	if json.Unmarshal([]byte(text), &types) == nil && len(types) <= commandsMost {
		for _, t := range types {
			c.Commands = append(c.Commands, cutTo(t, typeMost))
		}
	}
	key, _ := sealKey.(string)
	c.SealKey = cut(key)
	return c
}
