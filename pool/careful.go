package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// Whoever may write to Redis can put 512 MB into one field. A quick look then ends with ErrTooLarge, and the pool looks
// carefully: by two small scripts that leave large values out, so that what is too large is the fault of its node. That
// costs Redis about four times as much, so it is done only then, and for a while after.
const (
	carefulFor  = time.Minute
	memberMost  = 256      // bytes of a member of a set; an id has 128
	membersMost = 100_000  // members of a set; reading them takes Redis some 40 ms
	valueMost   = 16 << 10 // bytes of a field; labels may have 12 kB. Texts for people are shown up to textMost
	hashesOnce  = 50       // hashes in one run of a script, so that each takes about 1 ms
	fieldsOnce  = 500      // fields of one hash in one run
)

// The scripts are sent whole each time: a pipeline can't load one on the way, and nothing but EVAL_RO needs to be
// allowed to who only reads.
var membersSource, fieldsSource = text("members.lua"), text("fields.lua")

// quickly does a look by quick, or by careful when something very large is in the way, or was lately.
func quickly[T any](p *Pool, quick, careful func() (T, error)) (T, error) {
	if time.Now().UnixNano() >= p.careful.Load() {
		v, err := quick()
		if !errors.Is(err, ErrTooLarge) {
			return v, err
		}
		p.careful.Store(time.Now().Add(carefulFor).UnixNano())
	}
	return careful()
}

// carefulSets is sets, but for the freezes.
func (p *Pool) carefulSets(ctx context.Context) (*sets, error) {
	pipe := p.rdb.Pipeline()
	rev := pipe.GetRange(ctx, p.keys.rev(), 0, 31)
	members := func(key string) *redis.Cmd {
		return pipe.EvalRO(ctx, membersSource, []string{key}, membersMost, memberMost)
	}
	all, active := members(p.keys.all()), members(p.keys.active())
	_, _ = pipe.Exec(ctx) // its error is the first of theirs, and may hide a worse one
	if err := firstError(rev.Err(), all.Err(), active.Err()); err != nil {
		return nil, err
	}
	s := &sets{rev: rev.Val()}
	for _, set := range []struct {
		key  string
		cmd  *redis.Cmd
		into *[]string
	}{{p.keys.all(), all, &s.all}, {p.keys.active(), active, &s.active}} {
		answer, _ := set.cmd.Slice()
		n, ids := answer[0], answer[1].([]any)
		if n, _ := n.(int64); int(n) > membersMost {
			err := fmt.Errorf("%s has %d members, and %d at most are read", set.key, n, membersMost)
			if set.key == p.keys.active() {
				return nil, err // without it nobody knows who serves
			}
			s.refused = append(s.refused, Refusal{ID: set.key, Why: err.Error()})
		}
		for _, id := range ids {
			*set.into = append(*set.into, fmt.Sprint(id))
		}
	}
	return s, nil
}

// carefulFill is fill, and reads the freezes.
func (p *Pool) carefulFill(ctx context.Context, nodes []Node, fields []string, lb string) (bool, error) {
	pipe := p.rdb.Pipeline()
	ttls, beats := make([]*redis.DurationCmd, len(nodes)), make([]*redis.StringCmd, len(nodes))
	ids, keys := make([]string, len(nodes)), make([]string, len(nodes))
	for i := range nodes {
		id := nodes[i].ID
		ids[i], keys[i] = id, p.keys.status(id)
		ttls[i], beats[i] = p.readBeat(ctx, pipe, id)
	}
	strict, forPeople := fields[:len(statusFields)], fields[len(statusFields):]
	statuses := carefulFields(ctx, pipe, keys, strict, valueMost)
	texts := carefulFields(ctx, pipe, keys, forPeople, textMost)
	freezes := carefulFields(ctx, pipe, []string{p.keys.frozen()}, ids, valueMost)
	if _, err := pipe.Exec(ctx); err != nil && !ofOneCommand(err) {
		return false, err
	}
	hashes, err := statuses()
	if err != nil {
		return false, err
	}
	said, err := texts()
	if err != nil {
		return false, err
	}
	frozen, err := freezes()
	if err != nil {
		return false, err
	}
	if frozen[0].err != "" {
		return false, p.keys.said(p.keys.frozen(), frozen[0].err)
	}
	now := time.Now()
	for i := range nodes {
		n, h := &nodes[i], hashes[i]
		if text, ok := frozen[0].values[i].(string); ok {
			n.Freeze = decodeFreeze(map[string]string{n.ID: text}, n.ID)
		}
		if err := beats[i].Err(); err == nil {
			n.decodeHeartbeat(ttls[i].Val(), beats[i].Val(), now)
		} else if !ofOneCommand(err) {
			return false, err
		}
		if h.err == "" {
			n.decodeStatus(fields, slices.Concat(h.values, said[i].values))
		}
		for field, size := range h.large {
			n.Fault = fmt.Sprintf("%s holds %d bytes, more than %d", field, size, valueMost)
		}
		for field, size := range said[i].large {
			into := &n.Status
			if field == "details" {
				into = &n.Details
			}
			*into = fmt.Sprintf("%d bytes", size)
		}
		n.decodeErrors(beats[i].Err(), p.keys.said(keys[i], h.err))
	}
	gone, err := unacked(p.readAck(ctx, p.rdb, lb)) // by itself: it may be what is too large, and nobody knows then
	if errors.Is(err, ErrTooLarge) {
		return false, nil
	}
	return gone, err
}

// bounded is a hash as carefulFields found it.
type bounded struct {
	err    string
	values []any // as HMGET's; those of large are ""
	large  map[string]int64
}

// carefulFields puts the reading of fields of hashes, up to most bytes of each, into a pipeline. The function it returns
// gives the answers, one for each key, once that has run.
func carefulFields(ctx context.Context, pipe redis.Pipeliner, keys, fields []string, most int) func() ([]bounded, error) {
	type run struct {
		cmd  *redis.Cmd
		from int // first of its keys
	}
	var runs []run
	for from := 0; from < len(keys); from += hashesOnce {
		for names := range slices.Chunk(fields, fieldsOnce) {
			args := []any{most}
			for _, f := range names {
				args = append(args, f)
			}
			runs = append(runs, run{pipe.EvalRO(ctx, fieldsSource, keys[from:min(from+hashesOnce, len(keys))], args...), from})
		}
	}
	return func() ([]bounded, error) {
		found := make([]bounded, len(keys))
		for _, r := range runs {
			hashes, err := r.cmd.Slice()
			if err != nil {
				return nil, err
			}
			for i, h := range hashes {
				b, parts := &found[r.from+i], h.([]any)
				if said, _ := parts[0].(string); said != "" {
					b.err = said
				}
				b.values = append(b.values, parts[1].([]any)...)
				large := parts[2].([]any)
				for j := 0; j+1 < len(large); j += 2 {
					if b.large == nil {
						b.large = map[string]int64{}
					}
					b.large[fmt.Sprint(large[j])], _ = large[j+1].(int64)
				}
			}
		}
		return found, nil
	}
}

func (p *Pool) carefulIPs(ctx context.Context, ids []string) (map[string]string, error) {
	pipe := p.rdb.Pipeline()
	read := carefulFields(ctx, pipe, []string{p.keys.nodeIPs()}, ids, textMost)
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	hashes, err := read()
	if err != nil {
		return nil, err
	}
	if hashes[0].err != "" {
		return nil, p.keys.said(p.keys.nodeIPs(), hashes[0].err)
	}
	return texts(ids, hashes[0].values), nil
}
