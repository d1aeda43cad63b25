package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Ack is what one load balancer says of itself: what its Nginx is proven to serve.
type Ack struct {
	ID         string
	Host       string
	Rev        int64          // of the snapshot it serves; 0: it has not proven any yet
	Generation int64          // of the configuration it serves
	Held       []string       // nodes it goes on serving against the registry's word, sorted
	Blind      bool           // lbd can't see its Nginx, or not prove that it serves Rev
	Draining   int            // old workers of its Nginx that have not ended: they may still send to nodes taken out
	Old        []OldWorker    // Draining ones that take long
	Instance   string         // which run of lbd it is
	Apply      string         // how it applies: reload or live
	Live       string         // by which live engine; "" with reload
	Busy       map[string]int // by node: what is under way on it (see Counts), as far as a live engine can tell: with Rev 0 there may be more
	Error      string         // the last error, "" when all is well
	At         time.Time
	Refused    []Refusal // nodes that it refuses for reasons of its own, such as an address it may not send to
}

// refusalsMost bounds how many refusals an Ack carries: enough to see what is wrong, few enough for every look at it.
const refusalsMost = 100

// OldWorker is a worker of a former configuration that has not ended.
type OldWorker struct {
	PID         int `json:"pid"`
	Connections int `json:"connections"` // that it still has, to clients and nodes; -1: they can't be seen
}

// oldMost and busyMost bound how many of them, and how many busy nodes, an Ack carries.
const (
	oldMost  = 20
	busyMost = 10_000
)

// Counts says what the numbers of Busy are: requests, or connections where Nginx can't be asked for requests.
func (a *Ack) Counts() string {
	if a.Live == "resolve" {
		return "connection"
	}
	return "request"
}

// LB is a load balancer as the pool knows it.
type LB struct {
	Ack
	Silent    bool          // its Ack has expired: nobody knows what its Nginx does
	SilentFor time.Duration // since its last word, by Redis's clock; 0: longer than a day, or unknown
}

// lastWordTTL is for how long Redis remembers when a load balancer last said something.
const lastWordTTL = 24 * time.Hour

// WriteAck says it, for ttl, in one round trip, and returns the instance that said it last.
func (p *Pool) WriteAck(ctx context.Context, a Ack, ttl time.Duration) (before string, err error) {
	if err := CheckID(a.ID); err != nil {
		return "", err
	}
	held, err := json.Marshal(append([]string{}, a.Held...))
	if err != nil {
		return "", fmt.Errorf("encode ack: %w", err)
	}
	refused, err := json.Marshal(append([]Refusal{}, a.Refused[:min(len(a.Refused), refusalsMost)]...))
	if err != nil {
		return "", fmt.Errorf("encode ack: %w", err)
	}
	old, err := json.Marshal(append([]OldWorker{}, a.Old[:min(len(a.Old), oldMost)]...))
	if err != nil {
		return "", fmt.Errorf("encode ack: %w", err)
	}
	if len(a.Busy) > busyMost {
		return "", fmt.Errorf("encode ack: %d busy nodes", len(a.Busy))
	}
	busy, err := json.Marshal(a.Busy)
	if err != nil {
		return "", fmt.Errorf("encode ack: %w", err)
	}
	_, unix := stamp()
	pipe := p.rdb.TxPipeline()
	last := pipe.HGet(ctx, p.keys.lb(a.ID), "instance")
	pipe.SAdd(ctx, p.keys.lbs(), a.ID)
	pipe.HSet(ctx, p.keys.lb(a.ID), "rev", a.Rev, "generation", a.Generation, "held", string(held),
		"blind", strconv.FormatBool(a.Blind), "instance", a.Instance, "draining", a.Draining, "apply", a.Apply, "error", cut(a.Error), "host", a.Host, "at", unix,
		"refused", string(refused), "old", string(old), "live", a.Live, "busy", string(busy))
	pipe.PExpire(ctx, p.keys.lb(a.ID), ttl)
	pipe.Set(ctx, p.keys.lbLast(a.ID), "", lastWordTTL)
	cmds, err := pipe.Exec(ctx)
	if errors.Is(err, redis.Nil) { // there was none before; it is the first error, and may hide another
		errs := make([]error, len(cmds))
		for i, cmd := range cmds {
			errs[i] = cmd.Err()
		}
		err = firstError(errs...)
	}
	if err = told(cmds, err); err != nil {
		return "", p.Explain(err)
	}
	return last.Val(), nil
}

// LBs returns every load balancer ever seen and not forgotten, sorted by id.
func (p *Pool) LBs(ctx context.Context) ([]LB, error) {
	ids, err := p.rdb.SMembers(ctx, p.keys.lbs()).Result()
	if err != nil {
		return nil, p.Explain(err)
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return CheckID(id) != nil })
	slices.Sort(ids)
	if len(ids) == 0 {
		return nil, nil
	}
	pipe := p.rdb.Pipeline()
	hashes := make([]*redis.MapStringStringCmd, len(ids))
	lasts := make([]*redis.DurationCmd, len(ids))
	for i, id := range ids {
		hashes[i], lasts[i] = pipe.HGetAll(ctx, p.keys.lb(id)), pipe.PTTL(ctx, p.keys.lbLast(id))
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, p.Explain(err)
	}
	lbs := make([]LB, len(ids))
	for i, id := range ids {
		lbs[i] = decodeLB(id, hashes[i].Val())
		if left := lasts[i].Val(); lbs[i].Silent && left > 0 {
			lbs[i].SilentFor = max(lastWordTTL-left, 0)
		}
	}
	return lbs, nil
}

func decodeLB(id string, h map[string]string) LB {
	number := func(k string) int64 { n, _ := strconv.ParseInt(h[k], 10, 64); return n }
	b := LB{Silent: len(h) == 0, Ack: Ack{ID: id, Host: cut(h["host"]), Rev: number("rev"), Generation: number("generation"),
		Draining: int(number("draining")), Apply: cut(h["apply"]), Live: cut(h["live"]), Error: cut(h["error"]), Instance: cut(h["instance"])}}
	b.Blind = h["blind"] == "true"
	if json.Unmarshal([]byte(h["held"]), &b.Held) != nil {
		b.Silent = true // what it says can't be read
	}
	_ = json.Unmarshal([]byte(h["refused"]), &b.Refused) // for people: what can't be read is left out
	_ = json.Unmarshal([]byte(h["old"]), &b.Old)
	if busy := h["busy"]; busy != "" && json.Unmarshal([]byte(busy), &b.Busy) != nil {
		b.Silent = true // as with held: a wait must not end because of it
	}
	b.Old = b.Old[:min(len(b.Old), oldMost)]
	b.Refused = b.Refused[:min(len(b.Refused), refusalsMost)]
	for i, r := range b.Refused {
		b.Refused[i] = Refusal{ID: cut(r.ID), Why: cut(r.Why)}
	}
	if at, err := strconv.ParseFloat(h["at"], 64); err == nil {
		b.At = unixTime(at)
	}
	return b
}

var forgetLBScript = script("forget_lb.lua")

// ErrNoSuchLB is returned for a load balancer that is not known.
var ErrNoSuchLB = errors.New("no such load balancer")

// ForgetLB removes a load balancer that will not come back; nothing waits for it any more. by names the operator. The
// error is ErrNoSuchLB when it is not known.
func (p *Pool) ForgetLB(ctx context.Context, id, by string) error {
	rfc, _ := stamp()
	k := p.keys
	r, err := p.runOnce(ctx, "forget load balancer", forgetLBScript,
		[]string{k.lbs(), k.events(), k.lb(id), k.lbLast(id)}, id, rfc, cut(by))
	switch {
	case err != nil:
		return p.Explain(err)
	case r.word() == "none":
		return fmt.Errorf("%w: %s", ErrNoSuchLB, shown(id))
	}
	return nil
}
