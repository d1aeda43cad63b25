package pool_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

// Full, Redis goes on answering reads, and says what is wrong with a write.
func TestFullRedis(t *testing.T) {
	srv := serverstest.Redis(t, "--maxmemory-policy", "noeviction")
	w := open(t, srv.Addr())
	m := w.register(t, "web1")
	if err := w.rdb.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	s, err := w.Snapshot(t.Context())
	if err != nil || len(s.Nodes) != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	wantState(t, &s.Nodes[0], pool.Active)
	if _, err := w.LBs(t.Context()); err != nil {
		t.Error(err)
	}
	_, heartbeat := m.Heartbeat(t.Context(), pool.Metrics{})
	_, freeze := w.Freeze(t.Context(), "web1", "ann", "")
	_, ack := w.WriteAck(t.Context(), pool.Ack{ID: "lb1"}, time.Minute)
	send := w.Send(t.Context(), "web1", pool.NewCommand("exec", "ann", time.Minute, nil))
	for what, err := range map[string]error{"heartbeat": heartbeat, "freeze": freeze, "ack": ack, "send": send} {
		if !pool.RefusesWrites(err) {
			t.Errorf("%s: no refusal of a write: %v", what, err)
		}
		if err == nil || !contains(err.Error(), "it is full: reads go on, writes are refused", "raise its maxmemory") || contains(err.Error(), "may have been done") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := w.node(t, "web1"); n.Freeze != nil {
		t.Errorf("half a freeze was done: %+v", n.Freeze)
	}
	if err := w.rdb.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Heartbeat(t.Context(), pool.Metrics{}); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func TestStatesOfRedisAreNamed(t *testing.T) {
	ctx := t.Context()
	t.Run("replica", func(t *testing.T) {
		master := serverstest.Redis(t, "--repl-diskless-sync-delay", "0")
		r := serverstest.Redis(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(master.Port()), "--replica-serve-stale-data", "no")
		serverstest.Eventually(t, time.Minute, func() error { return replica(r) })
		w := open(t, r.Addr())
		if _, err := w.Snapshot(ctx); err != nil {
			t.Errorf("read: %v", err)
		}
		_, _, err := w.Register(ctx, registration("web1"), "")
		wantSaid(t, err, "it is a replica, and takes no writes", "redis.sentinel")
		if err := master.Kill(); err != nil {
			t.Fatal(err)
		}
		serverstest.Eventually(t, time.Minute, func() error {
			if _, err = w.Snapshot(ctx); err == nil {
				return errors.New("it still answers")
			}
			return nil
		})
		wantSaid(t, err, "it is a replica that has lost its master", "wait for the failover")
		// It becomes the master: callers ask again, on the connections they have.
		if _, err := r.Do("REPLICAOF", "NO", "ONE"); err != nil {
			t.Fatal(err)
		}
		w.register(t, "web1")
	})
	t.Run("loading", func(t *testing.T) {
		r := serverstest.Redis(t, "--enable-debug-command", "yes", "--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
		w := open(t, r.Addr())
		m := w.register(t, "web1")
		pipe := w.rdb.Pipeline()
		for i := range 1000 { // each takes 1 ms to load
			pipe.Set(ctx, fmt.Sprint("key", i), strings.Repeat("x", 100), 0)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			t.Fatal(err)
		}
		seen := make(chan struct{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for { // again when nobody had looked in time
				_, _ = r.Do("DEBUG", "RELOAD") // answers when it is over
				select {
				case <-seen:
					return
				default:
				}
			}
		}()
		defer func() { close(seen); <-ended }()
		var err error
		serverstest.Eventually(t, time.Minute, func() error {
			if _, err = m.Heartbeat(ctx, pool.Metrics{}); err == nil || contains(err.Error(), "no answer in time") {
				return fmt.Errorf("not loading yet, or the machine stands still: %v", err)
			}
			return nil
		})
		wantSaid(t, err, "it is still loading its data", "wait")
	})
	t.Run("no connection left", func(t *testing.T) {
		r := serverstest.Redis(t, "--maxclients", "1")
		held := open(t, r.Addr())
		// The connection that asked whether it is ready may take a moment to be gone.
		serverstest.Eventually(t, time.Minute, func() error { return held.Ping(ctx) })
		wantSaid(t, opened(t, pool.Config{URL: r.URL()}), "maxclients") // it says so and closes: sometimes only that is seen
	})
	t.Run("can't save", func(t *testing.T) {
		r := serverstest.Redis(t, "--save", "3600 1", "--enable-protected-configs", "yes")
		w := open(t, r.Addr())
		breakSaving(t, w, r)
		_, _, err := w.Register(ctx, registration("web1"), "")
		wantSaid(t, err, "it can't save to its disk and refuses writes", "disk")
	})
	t.Run("a cluster's node", func(t *testing.T) {
		c := serverstest.Cluster(t, nil)
		owner, err := c.Owner("bazbeans:rev")
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range c.Nodes {
			if r != owner {
				_, err := connect(t, pool.Config{URL: r.URL()}).Snapshot(ctx)
				wantSaid(t, err, "it is a node of a Redis Cluster", "redis.cluster.addrs", "{bazbeans}")
			}
		}
		plain := serverstest.Redis(t)
		_, err = connect(t, pool.Config{KeyPrefix: "{bazbeans}", Cluster: pool.Cluster{Addrs: []string{plain.Addr()}}}).Snapshot(ctx)
		wantSaid(t, err, "it is no Redis Cluster", "take redis.cluster out")
	})
	t.Run("nobody", func(t *testing.T) {
		port := serverstest.Ports(t, 1)[0]
		wantSaid(t, opened(t, pool.Config{URL: "redis://" + servers.Loopback(port)}), "is it running?")
		wantSaid(t, opened(t, pool.Config{Sentinel: pool.Sentinel{Master: "m", Addrs: []string{servers.Loopback(port)}}}), servers.Loopback(port))
		wantSaid(t, opened(t, pool.Config{KeyPrefix: "{b}", Cluster: pool.Cluster{Addrs: []string{servers.Loopback(port)}}}), servers.Loopback(port))
	})
	t.Run("not Redis", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				fmt.Fprint(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
				conn.Close()
			}
		}()
		wantSaid(t, opened(t, pool.Config{URL: "redis://" + l.Addr().String()}), l.Addr().String())
	})
}

// breakSaving makes the server's next snapshot of its memory fail: its folder is gone.
func breakSaving(t *testing.T, w world, r *servers.Redis) {
	t.Helper()
	dir := filepath.Join(serverstest.Dir(t), "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Do("CONFIG", "SET", "dir", dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Do("BGSAVE"); err != nil {
		t.Fatal(err)
	}
	serverstest.Eventually(t, time.Minute, func() error {
		if info := w.rdb.Info(t.Context(), "persistence").Val(); !contains(info, "rdb_last_bgsave_status:err") {
			return errors.New(info)
		}
		return nil
	})
}

func wantSaid(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil || !contains(err.Error(), parts...) {
		t.Errorf("error %v, want %q in it", err, parts)
	}
}

func TestSettingsThatExcludeOneAnother(t *testing.T) {
	empty := filepath.Join(serverstest.Dir(t), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	addrs := []string{"127.0.0.1:1"}
	for _, c := range []struct {
		cfg  pool.Config
		want []string
	}{
		{pool.Config{Cluster: pool.Cluster{Addrs: addrs}}, []string{"key_prefix: '{bazbeans}'"}},
		{pool.Config{KeyPrefix: "{}x", Cluster: pool.Cluster{Addrs: addrs}}, []string{"key_prefix: '{bazbeans}'"}},
		{pool.Config{KeyPrefix: "{bazbeans", Cluster: pool.Cluster{Addrs: addrs}}, []string{"key_prefix: '{bazbeans}'"}},
		{pool.Config{KeyPrefix: "}b{", Cluster: pool.Cluster{Addrs: addrs}}, []string{"key_prefix: '{bazbeans}'"}},
		{pool.Config{URL: "redis://h/3", KeyPrefix: "{b}", Cluster: pool.Cluster{Addrs: addrs}}, []string{"no database 3"}},
		{pool.Config{Sentinel: pool.Sentinel{Master: "m"}}, []string{"addrs is empty"}},
		{pool.Config{Sentinel: pool.Sentinel{Addrs: addrs}}, []string{"master is empty"}},
		{pool.Config{KeyPrefix: "{b}", Sentinel: pool.Sentinel{Master: "m", Addrs: addrs}, Cluster: pool.Cluster{Addrs: addrs}}, []string{"exclude each other"}},
		{pool.Config{Username: "lbd"}, []string{"username lbd has no password"}},
		{pool.Config{URL: "redis://lbd@h"}, []string{"username lbd has no password"}},
		{pool.Config{Sentinel: pool.Sentinel{Master: "m", Addrs: addrs, Username: "ops"}}, []string{"username ops has no password"}},
		{pool.Config{PasswordFile: empty}, []string{"password_file", "first line is empty"}},
		{pool.Config{PasswordFile: "/no/such/file"}, []string{"password_file", "no such file"}},
		{pool.Config{URL: "redis://h?pool_size=3&read_timeout=1s"}, []string{"pool_size, read_timeout", "not read"}},
		{pool.Config{URL: "http://h"}, []string{"write redis://"}},
		{pool.Config{URL: "redis:h:6379"}, []string{"redis:h:6379", "its host comes after //", "write redis://"}},
		// All at once.
		{pool.Config{Username: "lbd", Cluster: pool.Cluster{Addrs: addrs}, TLS: pool.TLS{Cert: "x"}}, []string{"no password", "{bazbeans}", "cert and key go together"}},
	} {
		_, err := pool.Open(c.cfg)
		wantSaid(t, err, c.want...)
	}
	for _, good := range []pool.Config{{}, {URL: "redis://h?db=3"}, {URL: "unix:///run/redis.sock"}, {URL: "unix:/run/redis.sock"}, {URL: "redis://:p@h"}, {KeyPrefix: "a{b}c", Cluster: pool.Cluster{Addrs: addrs}}} {
		p, err := pool.Open(good)
		if err != nil {
			t.Errorf("%+v: %v", good, err)
			continue
		}
		p.Close()
	}
}

// Whatever fails, no password is in what is said of it.
func TestNoPasswordIsEverSaid(t *testing.T) {
	const secret = "s3cret"
	srv := serverstest.Redis(t, "--requirepass", "another")
	certs := serverstest.Certificates(t)
	file := secretFile(t, secret)
	nobody := servers.Loopback(serverstest.Ports(t, 1)[0])
	for name, cfg := range map[string]pool.Config{
		"wrong, in the url":      {URL: "redis://:" + secret + "@" + srv.Addr()},
		"wrong, in a file":       {URL: srv.URL(), PasswordFile: file},
		"wrong user":             {URL: "redis://u:" + secret + "@" + srv.Addr()},
		"nobody there":           {URL: "redis://u:" + secret + "@" + nobody},
		"nobody there, TLS":      {URL: "rediss://u:" + secret + "@" + nobody},
		"no TLS there":           {URL: "rediss://u:" + secret + "@" + srv.Addr(), TLS: pool.TLS{CA: certs.CA}},
		"no such database":       {URL: "redis://:" + secret + "@" + srv.Addr() + "/x"},
		"settings nobody knows":  {URL: "redis://:" + secret + "@" + srv.Addr() + "?password=" + secret},
		"a port that is none":    {URL: "redis://:" + secret + "@h:x"},
		"a scheme that is none":  {URL: "redis:" + secret + "@h"},
		"a host with rubbish":    {URL: "redis://u:" + secret + "@h%zz"},
		"sentinel":               {URL: "redis://:" + secret + "@h", Sentinel: pool.Sentinel{Master: "m", Addrs: []string{srv.Addr()}, PasswordFile: file}},
		"cluster":                {URL: "redis://:" + secret + "@h", KeyPrefix: "{b}", Cluster: pool.Cluster{Addrs: []string{srv.Addr()}}},
		"a password file's text": {PasswordFile: file, Username: "u", Cluster: pool.Cluster{Addrs: []string{srv.Addr()}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := opened(t, cfg); err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("%v", err)
			}
			p, err := pool.Open(cfg)
			if err != nil {
				return // said above
			}
			defer p.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, _, registered := p.Register(ctx, registration("web1"), "")
			_, frozen := p.Freeze(ctx, "web1", "ann", "")
			said := fmt.Sprint(p.Where(), registered, frozen)
			_ = p.Watch(ctx, func(w pool.Wake) { said += fmt.Sprint(w.Deaf) })
			if strings.Contains(said, secret) || p.Where() == "" {
				t.Errorf("%s", said)
			}
		})
	}
}
