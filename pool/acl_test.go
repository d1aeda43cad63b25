package pool_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

// aclServer starts a Redis with the users of the page, and an admin for the test.
func aclServer(t *testing.T, lines string) *servers.Redis {
	t.Helper()
	file := filepath.Join(serverstest.Dir(t), "users.acl")
	lines += "user admin on >admin ~* &* +@all\n"
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(lines, ">SECRET", ">secret")), 0o600); err != nil {
		t.Fatal(err)
	}
	return serverstest.Redis(t, "--aclfile", file)
}

// as is a configuration for a user of the page.
func as(t *testing.T, user, url string) pool.Config {
	return pool.Config{URL: url, Username: user, PasswordFile: secretFile(t, "secret")}
}

func client(t *testing.T, addr, user, password string) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: addr, Username: user, Password: password, DisableIdentity: true, ReadTimeout: time.Minute, WriteTimeout: time.Minute})
	t.Cleanup(func() { c.Close() })
	return c
}

func TestDocumentedUsers(t *testing.T) {
	lines := blocks(t, "acl", "user lbd")[0]
	srv := aclServer(t, lines)
	admin := world{rdb: client(t, srv.Addr(), "admin", "admin")}
	who := cast{connect(t, as(t, "lbd", srv.URL())), connect(t, as(t, "agent-web3", srv.URL())), connect(t, as(t, "ops", srv.URL()))}
	who.life(t)
	who.python(t, admin)
	who.careful(t, admin)
	who.wrongType(t, admin)
	if refused := admin.rdb.Do(t.Context(), "ACL", "LOG").Val(); fmt.Sprint(refused) != "[]" {
		t.Errorf("refused: %v", refused)
	}

	// Least privilege: no line names a command that nobody has used, and none has one that is dangerous.
	used := admin.rdb.InfoMap(t.Context(), "commandstats").Val()["Commandstats"]
	dangerous := admin.rdb.Do(t.Context(), "ACL", "CAT", "dangerous").Val().([]any)
	for _, m := range regexp.MustCompile(`(?m) \+([^\s)]+)`).FindAllStringSubmatch(lines, -1) {
		if slices.Contains(dangerous, any(m[1])) || strings.HasPrefix(m[1], "@") {
			t.Errorf("+%s is dangerous", m[1])
		}
		if used["cmdstat_"+m[1]] == "" && m[1] != "select" && m[1] != "acl|whoami" { // for another database; for lbd doctor
			t.Errorf("+%s is used by nobody", m[1])
		}
	}
	for _, user := range []string{"lbd", "agent-web3", "ops"} {
		has := admin.rdb.Do(t.Context(), "ACL", "GETUSER", user).Val()
		if said := fmt.Sprint(has); strings.Contains(said, "nopass") || strings.Contains(said, "+@") {
			t.Errorf("%s: %s", user, said)
		}
	}
}

// Who listens asks a silent Redis whether it is there: that right is missed only then.
func TestDocumentedUsersListenToSilence(t *testing.T) {
	srv := aclServer(t, blocks(t, "acl", "user lbd")[0])
	admin := client(t, srv.Addr(), "admin", "admin")
	for _, user := range []string{"lbd", "agent-web3"} {
		t.Run(user, func(t *testing.T) {
			do(t, "reset", admin.ConfigResetStat(t.Context()).Err())
			heard := listen(t, connect(t, as(t, user, srv.URL())))
			serverstest.Eventually(t, time.Minute, func() error {
				if used := admin.InfoMap(t.Context(), "commandstats").Val()["Commandstats"]; used["cmdstat_ping"] == "" {
					return fmt.Errorf("it has not asked yet: %v", used)
				}
				return nil
			})
			do(t, "publish", admin.Publish(t.Context(), "bazbeans:lb_events", `{"event":"node_frozen"}`).Err())
			heard.wait(t, "subscribed", "node_frozen")
		})
	}
	if refused := admin.Do(t.Context(), "ACL", "LOG").Val(); fmt.Sprint(refused) != "[]" {
		t.Errorf("refused: %v", refused)
	}
}

// python has web3 and the operator meet what Python tools leave in Redis.
func (c cast) python(t *testing.T, admin world) {
	t.Helper()
	ctx := t.Context()
	admin.python(t, "web3", "10.0.0.1")
	admin.rdb.RPush(ctx, "bazbeans:node:web3:commands", `{"type": "exec", "command": "ls"}`)
	if taken, ok, err := c.agent.Next(ctx, "web3", time.Second); err != nil || !ok || taken.ID == "" {
		t.Errorf("a command of the Python CLI: %+v, %t, %v", taken, ok, err)
	}
	_, err := c.operator.Freeze(ctx, "web3", "ann", "")
	do(t, "freeze of a Python node", err)
	_, err = c.operator.Unfreeze(ctx, "web3", "ann")
	do(t, "unfreeze of a Python node", err)
}

// wrongType has lbd look while a key is of another type: it may ask of which.
func (c cast) wrongType(t *testing.T, admin world) {
	t.Helper()
	admin.rdb.Del(t.Context(), "bazbeans:nodes:active")
	admin.rdb.Set(t.Context(), "bazbeans:nodes:active", "x", 0)
	if _, err := c.lbd.Snapshot(t.Context()); err == nil || !contains(err.Error(), "bazbeans:nodes:active is a string and should be a set") {
		t.Errorf("%v", err)
	}
}

// careful has all of them look while something very large is in the way.
func (c cast) careful(t *testing.T, admin world) {
	t.Helper()
	admin.fill(t, "bazbeans:node:web3:status", "labels")
	admin.fill(t, "bazbeans:node_ips", "web3")
	admin.fill(t, "bazbeans:nodes:frozen", "web3")
	c.look(t, pool.Frozen)
	_, err := c.lbd.WriteAck(t.Context(), pool.Ack{ID: "lb1", Instance: "i1"}, time.Minute)
	do(t, "ack", err)
	if s, err := c.lbd.SnapshotFor(t.Context(), "lb1", nil); err != nil || s.Unacked {
		t.Errorf("lbd looks carefully for its ack: %+v, %v", s, err)
	}
	_, err = c.lbd.NodeIPs(t.Context(), []string{"web3"})
	do(t, "node_ips", err)
}

// What each user must not do is refused by Redis, and is still as it was afterwards.
func TestDocumentedUsersAreRefusedTheRest(t *testing.T) {
	srv := aclServer(t, blocks(t, "acl", "user lbd")[0])
	admin := world{rdb: client(t, srv.Addr(), "admin", "admin")}
	for _, id := range []string{"web3", "web4"} {
		admin.python(t, id, "10.0.0.1")
	}
	shared := []string{"SET bazbeans:other x", "SET other x", "DEL other", "HSET bazbeans:lb:lb1 rev 1", "SADD bazbeans:lbs x"}
	web4 := []string{"SET bazbeans:node:web4:heartbeat x", "DEL bazbeans:node:web4:heartbeat", "PEXPIRE bazbeans:node:web4:heartbeat 0",
		"HSET bazbeans:node:web4:status address 10.9.9.9", "DEL bazbeans:node:web4:status", "LPUSH bazbeans:node:web4:commands x",
		"LREM bazbeans:node:web4:commands 0 x", "BLMOVE bazbeans:node:web4:commands bazbeans:node:web3:commands LEFT RIGHT 1",
		"HGETALL bazbeans:node:web4:status", "LRANGE bazbeans:node:web4:commands 0 1", "HSET bazbeans:node:web33:status a b"}
	nodes := []string{"SADD bazbeans:nodes:active x", "SREM bazbeans:nodes:active web4", "SADD bazbeans:nodes:all x", "HSET bazbeans:nodes:frozen web4 {}",
		"HDEL bazbeans:nodes:frozen web4", "HSET bazbeans:node_ips web4 10.9.9.9", "SET bazbeans:rev 1", "XADD bazbeans:events * event x", "PUBLISH bazbeans:lb_events x"}
	all := []string{"FLUSHALL", "FLUSHDB", "CONFIG GET requirepass", "CONFIG SET maxmemory 1", "CONFIG REWRITE", "KEYS *", "SCAN 0", "SHUTDOWN NOSAVE",
		"REPLICAOF NO ONE", "SAVE", "BGREWRITEAOF", "MONITOR", "CLIENT KILL TYPE normal", "CLIENT PAUSE 1", "ACL SETUSER lbd +@all",
		"ACL LIST", "MODULE LIST", "SCRIPT FLUSH", "SCRIPT KILL", "FUNCTION FLUSH", "RENAME bazbeans:nodes:all x", "MIGRATE h 1 k 0 1", "RESTORE bazbeans:x 0 x", "SUBSCRIBE other", "PSUBSCRIBE *", "PUBLISH other x",
		"EXPIRE bazbeans:nodes:all 0", "PERSIST bazbeans:node:web4:heartbeat", "SWAPDB 0 1", "COPY bazbeans:rev x", "SORT bazbeans:nodes:all STORE x", "BITOP NOT x bazbeans:rev"}
	for user, forbidden := range map[string][][]string{
		"lbd": {all, web4[:7], nodes, shared[:3], {"SET bazbeans:lbs x", "SREM bazbeans:lbs lb2", "DEL bazbeans:lbs", "PEXPIRE bazbeans:lbs 0", "HSET bazbeans:lbs a b",
			"SMEMBERS bazbeans:lbs", "SADD bazbeans:lb:lb2 x", "DEL bazbeans:lb:lb2", "SET bazbeans:node:web3:heartbeat x", "HSET bazbeans:node:web3:status a b", "LPUSH bazbeans:node:web3:commands x", "LRANGE bazbeans:node:web3:commands 0 1", "XREVRANGE bazbeans:events + -", "HGETALL bazbeans:command:x", "EVAL return 0"}},
		"agent-web3": {all, web4, shared, {"XREVRANGE bazbeans:events + -", "HSET bazbeans:lb:lb1:last x y", "RPUSH bazbeans:node:web3:commands x"}},
		"ops":        {all, {"SET other x", "DEL other", "HSET bazbeansX a b", "SUBSCRIBE bazbeans:lb_events"}},
	} {
		c := client(t, srv.Addr(), user, "secret")
		before := dump(t, admin)
		for _, line := range slices.Concat(forbidden...) {
			var words []any
			for w := range strings.FieldsSeq(line) {
				words = append(words, w)
			}
			if err := c.Do(t.Context(), words...).Err(); !redis.HasErrorPrefix(err, "NOPERM") {
				t.Errorf("%s: %s: %v, want NOPERM", user, line, err)
			}
			// Nor by way of a script: it can do no more than its user.
			if eval := c.Eval(t.Context(), "return redis.call(unpack(ARGV))", nil, words...); eval.Err() == nil {
				t.Errorf("%s: %s went by a script: %v", user, line, eval.Val())
			}
		}
		if after := dump(t, admin); after != before {
			t.Errorf("%s changed the pool:\n%s\n%s", user, before, after)
		}
	}
}

// The page says how one lbd gets a user who speaks for nobody else.
func TestAUserForOneLoadBalancer(t *testing.T) {
	line := regexp.MustCompile(`(?m)^user lbd on .*$`).FindString(blocks(t, "acl", "user lbd")[0])
	own := regexp.MustCompile("a user of its own: `(.*?)`").FindStringSubmatch(redisPage(t))
	shared := "(~bazbeans:lb:* +hget +hset +pexpire +set)"
	if own == nil || !strings.Contains(line, shared) {
		t.Fatalf("the page's line %q has no %s, or the page no way to narrow it", line, shared)
	}
	srv := aclServer(t, strings.Replace(line, shared, own[1], 1)+"\n")
	p := connect(t, as(t, "lbd", srv.URL()))
	if _, err := p.WriteAck(t.Context(), pool.Ack{ID: "lb1"}, time.Minute); err != nil {
		t.Errorf("its own: %v", err)
	}
	if _, err := p.WriteAck(t.Context(), pool.Ack{ID: "lb2"}, time.Minute); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("another's: %v", err)
	}
	admin := client(t, srv.Addr(), "admin", "admin")
	if keys := admin.Keys(t.Context(), "bazbeans:lb:*").Val(); len(keys) != 2 {
		t.Errorf("keys %q", keys)
	}
}

// dump is all that is in Redis.
func dump(t *testing.T, admin world) string {
	t.Helper()
	var all []string
	for _, key := range admin.rdb.Keys(t.Context(), "*").Val() {
		all = append(all, key+" "+fmt.Sprintf("%x", admin.rdb.Dump(t.Context(), key).Val()))
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func TestDocumentedUsersInACluster(t *testing.T) {
	lines := strings.ReplaceAll(blocks(t, "acl", "user lbd")[0], "~bazbeans:", "~{bazbeans}:")
	lines = strings.ReplaceAll(lines, "&bazbeans:", "&{bazbeans}:")
	lines = strings.ReplaceAll(lines, " on >SECRET", " on >secret +cluster|slots +command")
	c := serverstest.Cluster(t, nil)
	for _, r := range c.Nodes { // nodes of a cluster have no users before it is one: the default user makes it
		for line := range strings.Lines(lines) {
			if user, rules, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "user "), " "); user != "default" {
				if _, err := r.Do(append([]string{"ACL", "SETUSER", user}, strings.Fields(rules)...)...); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	in := func(user string) *pool.Pool {
		cfg := as(t, user, "")
		cfg.KeyPrefix, cfg.Cluster.Addrs = "{bazbeans}", c.Addrs()
		return connect(t, cfg)
	}
	cast{in("lbd"), in("agent-web3"), in("ops")}.life(t)
	for _, r := range c.Nodes {
		if log, err := r.Do("ACL", "LOG"); err != nil || log != "" {
			t.Errorf("refused: %s, %v", log, err)
		}
	}
}
