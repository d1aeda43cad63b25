package nginxtest

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// away is how long Redis is gone in these stories: longer than a heartbeat lives.
const away = 13 * time.Second

// fileAsItIs remembers what lbd's file is now. The function it returns fails the test if the file has been touched.
func (b *balancer) fileAsItIs() (wantUntouched func()) {
	b.s.t.Helper()
	look := func() (string, time.Time) {
		info, err := os.Stat(b.output)
		if err != nil {
			b.s.t.Fatal(err)
		}
		return read(b.s.t, b.output), info.ModTime()
	}
	text, at := look()
	return func() {
		b.s.t.Helper()
		if now, then := look(); now != text || !then.Equal(at) {
			b.s.t.Errorf("%s was written at %s, which nothing asked for:\n%s\nbefore:\n%s", b.output, then, now, text)
		}
	}
}

func (s *site) killRedis() {
	s.t.Helper()
	if err := s.redis.Kill(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) restartRedis() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), soon)
	defer cancel()
	if err := s.redis.Restart(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// Redis crashes and comes back with what it had: every heartbeat in it has ended long since. While it is away, and
// when it is back, nothing moves.
func TestRedisAwayPersisted(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2", "web3", "web4"}, redis: []string{"--appendonly", "yes", "--appendfsync", "always"}})
	s.bbctl("freeze", "web4", "--wait", "--reason", "disk replaced")
	s.wantServers("web1", "web2", "web3")
	s.redisAway("web1", "web2", "web3")

	// The operator's freeze was persisted: the node is frozen still, and can be put back.
	if out := s.bbctl("status", "web4"); !containsAll(out, "frozen", "disk replaced") {
		t.Errorf("bbctl status web4 says:\n%s", out)
	}
	s.bbctl("unfreeze", "web4", "--wait")
	s.wantServers("web1", "web2", "web3", "web4")
}

// Redis crashes and comes back empty: the agents register again by themselves.
func TestRedisAwayEmpty(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2", "web3"}})
	s.redisAway("web1", "web2", "web3")
}

func (s *site) redisAway(ids ...string) {
	s.t.Helper()
	traffic := s.traffic()
	traffic.wantReaches(ids...)
	wantUntouched := s.fileAsItIs()
	generation := s.mustStatus().Running

	s.killRedis()
	traffic.goOn(away)
	traffic.wantReaches(ids...)
	s.want("/readyz", 503, "redis")
	s.want("/healthz", 200, "ok") // nothing is wrong with lbd: to restart it would not help
	wantUntouched()
	if st := s.mustStatus(); st.Redis.Connected || st.Running != generation {
		s.t.Errorf("while redis is away, /status says %+v", st)
	}
	s.bbctlExit(1, "list-nodes")

	s.restartRedis()
	for _, id := range ids {
		s.nodes[id].wantBeat()
	}
	s.want("/readyz", 200)
	s.want("/readyz", 200)
	s.wantServers(ids...)
	s.bbctl("freeze", ids[0], "--wait")
	s.wantServers(ids[1:]...)
	s.bbctl("unfreeze", ids[0], "--wait")
	s.wantServers(ids...)
	traffic.wantReaches(ids...)
	traffic.wantNoHarm()
}

// wantBeat waits until the node's heartbeat lives and the node is in both sets.
func (n *node) wantBeat() {
	n.s.t.Helper()
	serverstest.Eventually(n.s.t, soon, func() error {
		ctx := n.s.t.Context()
		beat := n.s.rdb.Exists(ctx, "bazbeans:node:"+n.id+":heartbeat").Val()
		all, active := n.s.rdb.SIsMember(ctx, "bazbeans:nodes:all", n.id).Val(), n.s.rdb.SIsMember(ctx, "bazbeans:nodes:active", n.id).Val()
		if beat != 1 || !all || !active {
			return fmt.Errorf("%s: heartbeat %d, in nodes:all %v, in nodes:active %v", n.id, beat, all, active)
		}
		return nil
	})
}

// Somebody flushes Redis under traffic.
func TestFlushAll(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2", "web3"}})
	traffic := s.traffic()
	traffic.wantReaches("web1", "web2", "web3")
	before := s.mustStatus().Rev

	for range 3 {
		s.flush()
		for _, n := range s.nodes {
			n.wantBeat()
		}
	}
	s.wantServers("web1", "web2", "web3")
	s.bbctl("freeze", "web1", "--wait") // revisions have not run backwards: the wait would be for ever
	s.wantServers("web2", "web3")
	if now := s.mustStatus().Rev; now <= before {
		t.Errorf("rev is %d after the flush and was %d before", now, before)
	}
	traffic.wantNoHarm()
}

func (s *site) flush() {
	s.t.Helper()
	if err := s.rdb.FlushAll(s.t.Context()).Err(); err != nil {
		s.t.Fatal(err)
	}
}

// All agents die and Redis is flushed: nothing in Redis says that there ever was a node. An empty set never replaces a
// good one, however often lbd looks, and also over its restart; new facts do.
func TestEmptySetNeverReplacesAGoodOne(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1"}, config: "timing: {min_interval: 50ms, resync: 100ms}\nguard: {hold: 200ms, window: 1s}\n"})
	traffic := s.traffic()
	wantUntouched := s.fileAsItIs()

	s.nodes["web1"].agent.kill()
	s.flush()
	s.want("/status", 200, `"held": true`)
	s.want("/readyz", 503, "min_nodes")
	s.wantLooks(20)
	wantUntouched()
	traffic.wantReaches("web1")

	s.lbd.stop()
	s.start()
	s.want("/status", 200, `"held": true`)
	s.wantLooks(20)
	wantUntouched()
	traffic.wantReaches("web1")

	s.node("web2")
	s.wantServers("web2")
	traffic.wantNoHarm()
}

// When more is lost at once than the guard believes, all of it is kept while the hold lasts. What an operator freezes
// goes at once all the same, and is no loss; what is lost beside it stays until the hold is over.
func TestManyLostAtOnceAreHeld(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2", "web3"}, config: "timing: {min_interval: 50ms, resync: 100ms}\nguard: {hold: 5m, window: 5m}\n"})
	traffic := s.traffic()
	wantUntouched := s.fileAsItIs()
	s.nodes["web1"].agent.kill()
	s.nodes["web2"].agent.kill()
	s.expire("web1", "web2")
	s.want("/readyz", 503, "held", "max_shrink")
	traffic.wantReaches("web1", "web2", "web3")
	wantUntouched()
	if held := string(s.mustStatus().Guard); !containsAll(held, "web1", "web2") || containsAll(held, "web3") {
		t.Errorf("/status says of the guard: %s", held)
	}
	s.bbctl("freeze", "web1", "--wait")
	if held := string(s.mustStatus().Guard); !containsAll(held, "web2") || containsAll(held, "web1") {
		t.Errorf("/status says of the guard after the freeze: %s", held)
	}
	traffic.wantNoHarm()
}

// expire ends heartbeats at one moment.
func (s *site) expire(ids ...string) {
	s.t.Helper()
	var keys []string
	for _, id := range ids {
		keys = append(keys, "bazbeans:node:"+id+":heartbeat")
	}
	if err := s.rdb.Del(s.t.Context(), keys...).Err(); err != nil {
		s.t.Fatal(err)
	}
}
