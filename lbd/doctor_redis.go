package lbd

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kballard/go-shellquote"

	"github.com/bazbeans/bazbeans/pool"
)

// Bounds for Redis. A look takes two round trips, and lbd gives it lookTimeout.
const (
	slowPing  = 20 * time.Millisecond
	largeSkew = 5 * time.Second
	// oldestRedis is the first major version with EVAL_RO and key rights for reading alone; see docs/redis.md.
	oldestRedis = 7
)

// checkRedis looks at the server that the pool is in: whether what is written there will last.
func (d *doctor) checkRedis(ctx context.Context) {
	d.checkPlain()
	p, real := d.l.pool.(*pool.Pool)
	if !real {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*lookTimeout)
	defer cancel()
	s, err := p.Inspect(ctx, d.l.cfg.ID)
	if err != nil {
		d.add(finding{Code: "redis", Level: levelProblem, What: err.Error(),
			Means: "lbd keeps what Nginx has, and follows nothing until Redis is back. What follows of Redis and the pool is left out."})
		return
	}
	if d.away != nil {
		d.add(finding{Code: "redis", Level: levelProblem, What: d.away.Error(), Means: "Redis is there, but the pool in it can't be read."})
	} else {
		d.ok("redis", "%s, version %s, as user %s", p.Where(), s.Version, s.User)
	}
	d.judgeRedis(s)
}

// judgeRedis says what is to be thought of the server.
func (d *doctor) judgeRedis(s *pool.Server) {
	if major, _, _ := strings.Cut(s.Version, "."); s.Version != "" {
		if n, err := strconv.Atoi(major); err == nil && n < oldestRedis {
			d.add(finding{Code: "redis-version", Level: levelProblem, What: fmt.Sprintf("Redis is %s, older than %d", s.Version, oldestRedis),
				Means: "It lacks commands that lbd needs when something very large is in the pool, and read-only rights.",
				Where: "on Redis's host", Fix: "apt-get install --only-upgrade redis-server"})
		}
	}
	d.judgeKeeping(s)
	d.judgeMemory(s)
	d.judgeRights(s)
	if s.Deaf != nil {
		f := finding{Code: "redis-events", Level: levelProblem, What: fmt.Sprintf("no events can be heard: %v", s.Deaf),
			Means: fmt.Sprintf("Changes are seen at each resync only, up to %s late.", d.l.cfg.Timing.Resync)}
		if strings.HasPrefix(s.Deaf.Error(), "NOPERM") && s.User != "" {
			f.Where, f.Fix = "on Redis's host", "redis-cli ACL SETUSER "+shellquote.Join(s.User, "&"+s.Channel)
		}
		d.add(f)
	} else {
		d.ok("redis-events", "events can be heard")
	}
	if s.Ping > slowPing {
		d.add(finding{Code: "redis-latency", Level: levelWarning, What: fmt.Sprintf("an answer takes %s", s.Ping.Round(time.Millisecond)),
			Means: fmt.Sprintf("Each look takes at least two of those; one that takes longer than %s counts as none.", lookTimeout)})
	} else {
		d.ok("redis-latency", "an answer takes %s", s.Ping.Round(10*time.Microsecond))
	}
	if s.Knows("clock") && s.Skew.Abs() > largeSkew {
		d.add(finding{Code: "clock", Level: levelWarning, What: fmt.Sprintf("Redis's clock and this host's are %s apart", s.Skew.Abs().Round(time.Second)),
			Means: "lbd decides by Redis's clock alone, but times in logs, events and `bbctl lbs` do not fit together.",
			Where: inShell, Fix: "timedatectl set-ntp true    # here and on Redis's host"})
	} else if s.Knows("clock") {
		d.ok("clock", "Redis's clock and this host's agree")
	}
	if len(s.Unknown) > 0 {
		d.add(finding{Code: "redis-unknown", Level: levelNote, What: fmt.Sprintf("can't be known with user %s: %s", s.User, strings.Join(s.Unknown, ", ")),
			Means: "lbd needs no such rights; run the doctor once with a user who has them."})
	}
}

// checkPlain looks for a password that crosses a network in the clear.
func (d *doctor) checkPlain() {
	c := d.l.cfg.Redis
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "redis" || c.TLS != (pool.TLS{}) {
		return
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && ip.IsLoopback() || u.Hostname() == "localhost" || u.Hostname() == "" {
		return
	}
	d.add(finding{Code: "redis-plain", Level: levelWarning, What: "the connection to " + net.JoinHostPort(u.Hostname(), u.Port()) + " is not encrypted",
		Means: "Whoever is on the way reads the password, and can tell lbd any pool he likes.",
		Where: inConfig, Fix: "redis:\n  url: rediss://" + u.Host + u.Path + "\n  tls: {ca: /etc/lbd/redis-ca.pem}"})
}

func (d *doctor) judgeKeeping(s *pool.Server) {
	if !s.Knows("role") {
		return
	}
	if s.Replica {
		d.add(finding{Code: "redis-role", Level: levelProblem, What: "this Redis is a replica",
			Means: "lbd can't say what it serves, so every drain waits for it; and a replica may be behind.",
			Where: inConfig, Fix: "redis:\n  url: redis://MASTER:6379/0\n# or name the Sentinels, who know: sentinel: {master: NAME, addrs: [HOST:26379]}"})
	} else {
		d.ok("redis-role", "this Redis is a master")
	}
	switch {
	case s.Failing != "":
		d.add(finding{Code: "redis-disk", Level: levelProblem, What: s.Failing,
			Means: "Redis can't write to its disk; it may refuse all writes, and agents can't send heartbeats then."})
	case !s.Knows("persistence"):
	case !s.AOF && s.Save == "":
		d.add(finding{Code: "redis-persistence", Level: levelWarning, What: "this Redis keeps nothing: appendonly is off and it never saves",
			Means: "After its restart operators' freezes are forgotten and those nodes get traffic again.",
			Where: "on Redis's host", Fix: "redis-cli CONFIG SET appendonly yes\nredis-cli CONFIG REWRITE"})
	case !s.AOF:
		d.add(finding{Code: "redis-persistence", Level: levelNote, What: "appendonly is off; Redis saves now and then (" + s.Save + ")",
			Means: "A crash of Redis forgets the freezes since the last time.",
			Where: "on Redis's host", Fix: "redis-cli CONFIG SET appendonly yes\nredis-cli CONFIG REWRITE"})
	default:
		d.ok("redis-persistence", "appendonly is on")
	}
}

func (d *doctor) judgeMemory(s *pool.Server) {
	if !s.Knows("memory") {
		return
	}
	if s.Policy != "noeviction" && s.Max > 0 {
		d.add(finding{Code: "redis-eviction", Level: levelProblem, What: "maxmemory-policy is " + s.Policy,
			Means: "When memory runs out Redis throws keys away, heartbeats first: nodes that are well vanish.",
			Where: "on Redis's host", Fix: "redis-cli CONFIG SET maxmemory-policy noeviction\nredis-cli CONFIG REWRITE"})
	} else {
		d.ok("redis-eviction", "nothing is evicted")
	}
	if s.Max == 0 {
		return
	}
	used := 100 * s.Used / s.Max
	f := finding{Code: "redis-memory", What: fmt.Sprintf("%d%% of maxmemory (%d MiB) is used", used, s.Max>>20),
		Means: "When it is full heartbeats can't be written and all nodes expire together; the guard keeps them for a while.",
		Where: "on Redis's host", Fix: fmt.Sprintf("redis-cli CONFIG SET maxmemory %dmb\nredis-cli CONFIG REWRITE", 2*max(s.Max>>20, 1))}
	switch {
	case used >= 95:
		f.Level = levelProblem
		d.add(f)
	case used >= 80:
		f.Level = levelWarning
		d.add(f)
	default:
		d.ok("redis-memory", "%d%% of maxmemory is used", used)
	}
}

func (d *doctor) judgeRights(s *pool.Server) {
	if !s.Knows("rights") {
		return
	}
	switch {
	case len(s.Lacks) > 0:
		d.add(finding{Code: "redis-rights", Level: levelProblem, What: fmt.Sprintf("user %s may not: %s", s.User, strings.Join(s.Lacks, ", ")),
			Means: "lbd needs that to read the pool and to say what it serves.", Where: "on Redis's host", Fix: d.aclLine()})
	case slices.Contains(s.Excess, "FLUSHALL"):
		d.add(finding{Code: "redis-rights", Level: levelWarning, What: fmt.Sprintf("user %s may do everything, even FLUSHALL", s.User),
			Means: "lbd only reads the pool: whoever gets hold of its config need not be able to empty it.", Where: "on Redis's host", Fix: d.aclLine()})
	case len(s.Excess) > 0:
		d.add(finding{Code: "redis-rights", Level: levelWarning, What: fmt.Sprintf("user %s may: %s", s.User, strings.Join(s.Excess, ", ")),
			Means: "lbd only reads the pool.", Where: "on Redis's host", Fix: d.aclLine()})
	default:
		d.ok("redis-rights", "user %s may do what lbd needs, and none of what it must not", s.User)
	}
}

// aclLine makes a Redis user that may read the pool and write what a load balancer says of itself.
func (d *doctor) aclLine() string {
	rules := append([]string{"reset", "on", ">PASSWORD"}, pool.LBRights(d.l.cfg.Redis)...)
	return "redis-cli ACL SETUSER lbd " + shellquote.Join(rules...) +
		"\n# then in lbd's config: redis: {username: lbd, password_file: /etc/lbd/redis.password}"
}
