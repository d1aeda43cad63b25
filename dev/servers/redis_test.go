package servers_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

func dial(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

func client(t *testing.T, r *servers.Redis) *redis.Client {
	t.Helper()
	opts, err := redis.ParseURL(r.URL())
	if err != nil {
		t.Fatal(err)
	}
	opts.MaxRetries, opts.ContextTimeoutEnabled = -1, true
	c := redis.NewClient(opts)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestRedisKeepsPortAndDataOverRestartAndKill(t *testing.T) {
	ctx := t.Context()
	r := serverstest.Redis(t, "--appendonly", "yes", "--appendfsync", "always")
	c := client(t, r)
	if err := c.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	for name, end := range map[string]func() error{"stop": r.Stop, "kill": r.Kill} {
		addr := r.Addr()
		if err := end(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if dial(addr) == nil {
			t.Errorf("after %s %s still takes connections", name, addr)
		}
		if err := end(); err != nil {
			t.Errorf("second %s: %v", name, err)
		}
		if err := r.Restart(ctx); err != nil {
			t.Fatalf("restart after %s: %v", name, err)
		}
		if got := r.Addr(); got != addr {
			t.Errorf("after %s address %s, want %s", name, got, addr)
		}
		if got := c.Get(ctx, "k").Val(); got != "v" {
			t.Errorf("after %s k is %q, want v", name, got)
		}
	}
	if err := r.Restart(ctx); err != nil {
		t.Errorf("restart of a running server: %v", err)
	}
}

func TestRedisPausedAnswersNothingUntilResumed(t *testing.T) {
	r := serverstest.Redis(t)
	c := client(t, r)
	if err := r.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Ping(ctx).Err(); err == nil {
		t.Error("a paused server answered PING")
	}
	if err := r.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
	if err := r.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := r.Stop(); err != nil {
		t.Errorf("stop of a paused server: %v", err)
	}
}

func TestRedisWithPasswordIsReady(t *testing.T) {
	r := serverstest.Redis(t, "--requirepass", "secret")
	if err := client(t, r).Ping(t.Context()).Err(); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("PING without password: %v, want NOAUTH", err)
	}
}

func TestRedisStartErrors(t *testing.T) {
	ctx := t.Context()
	running := serverstest.Redis(t)
	_, taken, _ := net.SplitHostPort(running.Addr())

	_, err := servers.StartRedis(ctx, servers.RedisOptions{Dir: serverstest.Dir(t), Args: []string{"--port", taken}})
	if err == nil || !strings.Contains(err.Error(), "Address already in use") {
		t.Errorf("taken port: %v, want the end of redis's log", err)
	}
	_, err = servers.StartRedis(ctx, servers.RedisOptions{Dir: serverstest.Dir(t), Args: []string{"--no-such-option", "1"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-option") {
		t.Errorf("bad option: %v, want the end of redis's log", err)
	}
	_, err = servers.StartRedis(ctx, servers.RedisOptions{Binary: "no-such-redis", Dir: serverstest.Dir(t)})
	if !errors.Is(err, servers.ErrNotInstalled) || !strings.Contains(err.Error(), "make deps") {
		t.Errorf("missing program: %v, want ErrNotInstalled", err)
	}
	if _, err = servers.StartRedis(ctx, servers.RedisOptions{}); err == nil {
		t.Error("no folder: no error")
	}
}
