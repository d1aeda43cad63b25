package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is the Redis server as one look found it: what decides whether the pool in it will last. Texts in it are
// foreign: print them only escaped.
type Server struct {
	Version string
	Ping    time.Duration // the median of five
	Skew    time.Duration // how far Redis's clock is before ours
	User    string        // as whom we are connected

	Replica bool   // it is no master: what is written is refused or lost
	AOF     bool   // appendonly
	Save    string // when it writes a snapshot of its memory; "": never
	Failing string // why it can't write to its disk; "": it can
	Used    int64  // bytes
	Max     int64  // maxmemory; 0: none
	Policy  string // maxmemory-policy

	Channel string   // of the events
	Deaf    error    // why no events can be heard; nil: they can
	Lacks   []string // commands that a load balancer needs and this user may not use
	Excess  []string // telling ones that it does not need, and may use

	// Unknown says what this user may not ask, or this Redis does not answer: some of clock, user, role, persistence,
	// memory, rights.
	Unknown []string
}

// Knows tells whether something could be asked.
func (s *Server) Knows(what string) bool { return !slices.Contains(s.Unknown, what) }

// Inspect looks at the Redis server for the load balancer lb. It only reads. The error says why there is no answer at
// all; what else can't be asked is in Unknown.
func (p *Pool) Inspect(ctx context.Context, lb string) (*Server, error) {
	rdb := p.rdb
	if cluster, ok := rdb.(*redis.ClusterClient); ok { // ask the server that has our keys
		master, err := cluster.MasterForKey(ctx, p.keys.all())
		if err != nil {
			return nil, p.Explain(err)
		}
		rdb = master
	}
	s := &Server{Channel: p.channel}
	var pings []time.Duration
	for range 5 {
		began := time.Now()
		if err := rdb.Ping(ctx).Err(); err != nil {
			return nil, p.Explain(err)
		}
		pings = append(pings, time.Since(began))
	}
	slices.Sort(pings)
	s.Ping = pings[2]
	unknown := func(what string, errs ...error) bool {
		bad := errors.Join(errs...) != nil
		if bad && s.Knows(what) {
			s.Unknown = append(s.Unknown, what)
		}
		return bad
	}
	began := time.Now()
	if at, err := rdb.Time(ctx).Result(); !unknown("clock", err) {
		s.Skew = at.Sub(began.Add(time.Since(began) / 2))
	}
	var err error
	if s.User, err = rdb.Do(ctx, "ACL", "WHOAMI").Text(); err != nil {
		unknown("user", err)
	}
	s.readInfo(ctx, rdb, unknown)
	s.Deaf = p.canHear(ctx)
	if s.User != "" {
		s.readRights(ctx, rdb, p, lb, unknown)
	} else {
		unknown("rights", errors.New("no user"))
	}
	return s, nil
}

func (s *Server) readInfo(ctx context.Context, rdb redis.UniversalClient, unknown func(string, ...error) bool) {
	text, err := rdb.Info(ctx).Result()
	if err != nil {
		for _, what := range []string{"role", "persistence", "memory"} {
			unknown(what, err)
		}
		return
	}
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[key] = value
		}
	}
	number := func(key string) int64 { n, _ := strconv.ParseInt(info[key], 10, 64); return n }
	s.Version = info["redis_version"]
	s.Replica = info["role"] == "slave"
	s.AOF = info["aof_enabled"] == "1"
	s.Used, s.Max, s.Policy = number("used_memory"), number("maxmemory"), info["maxmemory_policy"]
	for _, key := range []string{"rdb_last_bgsave_status", "aof_last_write_status"} {
		if status := info[key]; status != "" && status != "ok" {
			s.Failing = key + " is " + status
		}
	}
	if !s.AOF { // INFO does not say whether it ever saves
		saves, err := rdb.ConfigGet(ctx, "save").Result()
		if !unknown("persistence", err) {
			s.Save = saves["save"]
		}
	}
}

// canHear subscribes to the events, and says why that can't be done.
func (p *Pool) canHear(ctx context.Context) error {
	sub := p.rdb.Subscribe(ctx, p.channel)
	defer sub.Close()
	_, err := sub.ReceiveTimeout(ctx, ioTimeout)
	return err
}

// readRights asks what our user may do, where it may ask. Nothing is carried out.
func (s *Server) readRights(ctx context.Context, rdb redis.UniversalClient, p *Pool, lb string, unknown func(string, ...error) bool) {
	k := p.keys
	may := func(command ...any) (bool, error) {
		said, err := rdb.Do(ctx, append([]any{"ACL", "DRYRUN", s.User}, command...)...).Text()
		return said == "OK", err
	}
	for _, c := range []struct {
		needed  bool
		command []any
	}{
		{true, []any{"GET", k.rev()}},
		{true, []any{"SMEMBERS", k.all()}},
		{true, []any{"HGETALL", k.frozen()}},
		{true, []any{"HMGET", k.nodeIPs(), "x"}},
		{true, []any{"PTTL", k.heartbeat("x")}},
		{true, []any{"GETRANGE", k.heartbeat("x"), 0, 1}},
		{true, []any{"HMGET", k.status("x"), "x"}},
		{true, []any{"EVAL_RO", "return 1", 1, k.all()}},
		{true, []any{"SUBSCRIBE", p.channel}},
		{true, []any{"SADD", k.lbs(), lb}},
		{true, []any{"HGET", k.lb(lb), "instance"}},
		{true, []any{"HSET", k.lb(lb), "rev", 1}},
		{true, []any{"PEXPIRE", k.lb(lb), 1}},
		{false, []any{"FLUSHALL"}},
		{false, []any{"CONFIG", "SET", "save", ""}},
		{false, []any{"SADD", k.active(), "x"}},
		{false, []any{"HSET", k.frozen(), "x", "{}"}},
		{false, []any{"DEL", k.all()}},
	} {
		allowed, err := may(c.command...)
		if unknown("rights", err) {
			return
		}
		words := fmt.Sprint(c.command[0])
		if len(c.command) > 1 {
			words += fmt.Sprint(" ", c.command[1])
		}
		switch {
		case c.needed && !allowed:
			s.Lacks = append(s.Lacks, words)
		case !c.needed && allowed:
			s.Excess = append(s.Excess, words)
		}
	}
}

// LBRights are the rules of an ACL user who may read the pool and write what a load balancer says of itself, and
// nothing else, as in docs/redis.md: for ACL SETUSER.
func LBRights(cfg Config) []string {
	k := Keys{prefix: DefaultPrefix}
	if cfg.KeyPrefix != "" {
		k.prefix = cfg.KeyPrefix
	}
	channel := cfg.Channel
	if channel == "" {
		channel = k.channel()
	}
	rules := []string{
		"%R~" + k.rev(), "%R~" + k.prefix + ":nodes:*", "%R~" + k.nodeIPs(), "%R~" + k.heartbeat("*"), "%R~" + k.status("*"),
		"&" + channel,
		"+ping", "+select", "+time", "+type", "+acl|whoami", "+subscribe", "+multi", "+exec", "+get", "+getrange", "+pttl", "+smembers", "+sismember",
		"+scard", "+hget", "+hmget", "+hgetall", "+hstrlen", "+eval_ro",
		// Selectors, so that what writes goes with these keys alone.
		"(%W~" + k.lbs() + " +sadd)", "(~" + k.lb("*") + " +hget +hset +pexpire +set)",
	}
	if len(cfg.Cluster.Addrs) > 0 {
		rules = append(rules, "+cluster|slots", "+command")
	}
	return rules
}
