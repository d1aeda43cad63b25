package pool_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

// A Redis without a revision, as a Python-only fleet has it, must not hide what else is wrong.
func TestALookThatFailsIsNoEmptyPool(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		for key, want := range map[string]string{"bazbeans:nodes:all": "set", "bazbeans:nodes:active": "set", "bazbeans:nodes:frozen": "hash", "bazbeans:rev": "string"} {
			w.rdb.FlushDB(t.Context())
			if key != "bazbeans:nodes:all" {
				w.python(t, "py1", "10.0.0.9")
				w.rdb.Del(t.Context(), key)
			}
			w.rdb.LPush(t.Context(), key, "x")
			if s, err := w.Snapshot(t.Context()); err == nil || !contains(err.Error(), "WRONGTYPE "+key+" is a list and should be a "+want, "redis-cli DEL") {
				t.Errorf("%s is a list: %+v, %v", key, s, err)
			}
		}
	})
}

// Redis says WRONGTYPE and no key: whatever call meets one, its error names the key, both types and the way out.
func TestAWrongTypeIsNamed(t *testing.T) {
	ctx := t.Context()
	w := open(t, serverstest.Redis(t).Addr())
	for _, c := range []struct {
		key, want string
		call      func() error
	}{
		{"bazbeans:node_ips", "hash", func() error { _, err := w.NodeIPs(ctx, []string{"web1"}); return err }},
		{"bazbeans:lbs", "set", func() error { _, err := w.LBs(ctx); return err }},
		{"bazbeans:lbs", "set", func() error { _, err := w.WriteAck(ctx, pool.Ack{ID: "lb1"}, time.Minute); return err }},
		{"bazbeans:lb:lb1", "hash", func() error { _, err := w.LBs(ctx); return err }},
		{"bazbeans:lb:lb1", "hash", func() error { _, err := w.WriteAck(ctx, pool.Ack{ID: "lb1"}, time.Minute); return err }},
		{"bazbeans:events", "stream", func() error { _, err := w.Events(ctx, "", 1); return err }},
		{"bazbeans:node:web1:recent", "list", func() error { _, err := w.LastCommands(ctx, "web1", 1); return err }},
		{"bazbeans:node:web1:taken", "list", func() error { _, _, err := w.Next(ctx, "web1", time.Second); return err }},
		{"bazbeans:nodes:frozen", "hash", func() error { _, err := w.Node(ctx, "web1"); return err }},
		{"bazbeans:nodes:all", "set", func() error { _, err := w.Forget(ctx, "web1", "ann"); return err }},
		{"bazbeans:nodes:active", "set", func() error { _, err := w.Freeze(ctx, "web1", "ann", ""); return err }},
	} {
		w.rdb.FlushDB(ctx)
		w.register(t, "web1")
		w.rdb.SAdd(ctx, "bazbeans:lbs", "lb1")
		w.rdb.RPush(ctx, "bazbeans:node:web1:commands", "{}")
		w.rdb.Set(ctx, c.key, "x", 0)
		if err := c.call(); err == nil || !contains(err.Error(), "WRONGTYPE "+c.key+" is a string and should be a "+c.want, "redis-cli DEL") {
			t.Errorf("%s: %v", c.key, err)
		}
	}
}

// A node with a key of a wrong type is faulty and says why, also when its heartbeat has expired: its agent can't write one.
func TestANodeWithAKeyOfAWrongType(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		for key, want := range map[string]string{"bazbeans:node:web3:status": "hash", "bazbeans:node:web3:heartbeat": "string"} {
			w.rdb.FlushDB(ctx)
			w.register(t, "web3")
			w.rdb.Del(ctx, key)
			w.rdb.LPush(ctx, key, "x")
			for _, alive := range []bool{true, false} {
				if !alive && want == "hash" {
					w.rdb.Del(ctx, "bazbeans:node:web3:heartbeat")
				}
				n := w.node(t, "web3")
				wantState(t, n, pool.Faulty)
				if !contains(n.Why(), key+" is a list and should be a "+want, "bbctl forget web3") {
					t.Errorf("why %q", n.Why())
				}
			}
			_, err := w.Freeze(ctx, "web3", "ann", "")
			if want == "string" {
				do(t, "freeze", err)
				wantState(t, w.node(t, "web3"), pool.Frozen)
			}
			if _, err := w.Forget(ctx, "web3", "ann"); err != nil {
				t.Fatal(err)
			}
			w.register(t, "web3")
			wantState(t, w.node(t, "web3"), pool.Active)
		}
	})
}

func TestAScriptDoesAllOrNothing(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		w.register(t, "web1")
		if _, err := w.Freeze(ctx, "web1", "ann", "swap"); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"bazbeans:node:web1:heartbeat", "bazbeans:events", "bazbeans:rev", "bazbeans:node:web1:commands"} {
			kept := w.rdb.Dump(ctx, key).Val()
			w.rdb.Del(ctx, key)
			w.rdb.SAdd(ctx, key, "x")
			if _, err := w.Unfreeze(ctx, "web1", "ann"); err == nil || !strings.Contains(err.Error(), key) {
				t.Errorf("%s is a set: %v", key, err)
			}
			if !w.rdb.HExists(ctx, "bazbeans:nodes:frozen", "web1").Val() {
				t.Fatalf("%s is a set: the freeze was lifted by an unfreeze that failed", key)
			}
			w.rdb.Del(ctx, key)
			if kept != "" {
				w.rdb.Restore(ctx, key, 0, kept)
			}
		}
		if _, err := w.Unfreeze(ctx, "web1", "ann"); err != nil {
			t.Error(err)
		}
	})
}

func TestARevisionThatIsNoneOfOurs(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		w.register(t, "web1")
		for _, bad := range []string{"nan", "inf", "1e300", "0x10", "-5", "9007199254740993", "99999999999999999999", "x"} {
			w.rdb.Set(ctx, "bazbeans:rev", bad, 0)
			c, err := w.Freeze(ctx, "web1", "ann", bad)
			if err == nil && !c.Changed {
				c, err = w.Unfreeze(ctx, "web1", "ann")
			}
			if now := time.Now().UnixMilli(); err != nil || c.Rev < now-60_000 || c.Rev > now+60_000 {
				t.Errorf("after %s: %+v, %v", bad, c, err)
			}
			if s, err := w.Snapshot(ctx); err != nil || s.Rev != c.Rev {
				t.Errorf("after %s: the look says %d, %v; want %d", bad, s.Rev, err, c.Rev)
			}
		}
	})
}

func TestANodeThatIsOnlyActive(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		w.python(t, "py1", "10.0.0.9")
		w.rdb.SRem(t.Context(), "bazbeans:nodes:all", "py1")
		if c, err := w.Freeze(t.Context(), "py1", "ann", ""); err != nil || !c.Changed {
			t.Errorf("it gets traffic, so it can be frozen: %+v, %v", c, err)
		}
	})
}

func TestUnfreezingADeadPythonNode(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		w.python(t, "py1", "10.0.0.9")
		if _, err := w.Freeze(ctx, "py1", "ann", ""); err != nil {
			t.Fatal(err)
		}
		w.expire(t, "py1")
		if c, err := w.Unfreeze(ctx, "py1", "ann"); err != nil || !c.Changed {
			t.Fatalf("%+v, %v", c, err)
		}
		if w.rdb.SIsMember(ctx, "bazbeans:nodes:active", "py1").Val() {
			t.Error("python's updater would send to a dead node")
		}
		if n := w.rdb.LLen(ctx, "bazbeans:node:py1:commands").Val(); n != 1 {
			t.Errorf("%d commands wait for its agent, want the unfreeze", n)
		}
	})
}

func TestCleanupGoesOnAfterAFailure(t *testing.T) {
	onEach(t, "", func(t *testing.T, w world) {
		ctx := t.Context()
		for _, id := range []string{"web1", "web2", "web3"} {
			w.register(t, id)
		}
		w.expire(t, "web1", "web2", "web3")
		w.rdb.Del(ctx, "bazbeans:node:web2:status")
		w.rdb.SAdd(ctx, "bazbeans:node:web2:status", "x")
		gone, err := w.Cleanup(ctx, "ann")
		if err == nil || !strings.Contains(err.Error(), "web2") || strings.Join(gone, " ") != "web1 web3" {
			t.Errorf("%v, %v", gone, err)
		}
	})
}

func TestNoPartOfAPasswordInAnError(t *testing.T) {
	for _, url := range []string{"redis://user:abc/def@host:1", "redis://user:ab#c@host", "redis://u:p%zz@host", "http://u:secret@host"} {
		_, err := pool.Open(pool.Config{URL: url})
		for _, part := range []string{"abc", "def", "ab#", "zz", "secret"} {
			if err == nil || strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v", url, err)
			}
		}
	}
}

// An ACL without the channel refuses the subscription: that is said, and tried again until it is granted.
func TestWatchSaysThatItIsDeaf(t *testing.T) {
	srv := serverstest.Redis(t)
	w := open(t, srv.Addr())
	ctx := t.Context()
	acl := func(rules ...any) {
		t.Helper()
		if err := w.rdb.Do(ctx, append([]any{"ACL", "SETUSER", "lbd"}, rules...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	acl("on", ">x", "~*", "+@all", "resetchannels")
	p := pool.New(redis.NewClient(&redis.Options{Addr: srv.Addr(), Username: "lbd", Password: "x"}), "", "")
	defer p.Close()
	heard := listen(t, p)
	heard.waitDeaf(t, "NOPERM", "docs/redis.md")
	acl("&bazbeans:lb_events")
	heard.wait(t, "subscribed")
}
