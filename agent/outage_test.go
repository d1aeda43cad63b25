package agent

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

func TestTwoAgentsWithOneID(t *testing.T) {
	t.Parallel()
	srv := serverstest.Redis(t)
	k := dial(t, srv)
	older := startReal(t, realConfig(srv.URL()))
	k.wait("1", "EXISTS", "bazbeans:node:n1:heartbeat")
	newer := startReal(t, realConfig(srv.URL()))
	var superseded *pool.SupersededError
	select {
	case err := <-older.ended:
		if !errors.As(err, &superseded) || !strings.HasSuffix(superseded.By, newer.instance) {
			t.Errorf("error %v", err)
		}
	case <-time.After(soon):
		t.Fatal("the older agent does not stop")
	}
	k.equal(`["n1"]`, "SMEMBERS", "bazbeans:nodes:active")
	if instance := k.do("HGET", "bazbeans:node:n1:status", "instance"); !strings.HasSuffix(instance, newer.instance) {
		t.Errorf("instance %s", instance)
	}
}

func TestBootsBeforeRedisAndOutlivesIt(t *testing.T) {
	t.Parallel()
	port := serverstest.Ports(t, 1)[0]
	a := startReal(t, realConfig("redis://"+servers.Loopback(port)+"/0"))
	serverstest.Eventually(t, soon, func() error {
		if a.log.count("redis fails") == 0 {
			return errors.New("the log does not say that redis is away")
		}
		return nil
	})
	srv, err := servers.StartRedis(t.Context(), servers.RedisOptions{Dir: serverstest.Dir(t), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Kill() })
	k := dial(t, srv)
	k.wait(`["n1"]`, "SMEMBERS", "bazbeans:nodes:active")
	if err := srv.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.wait(`["n1"]`, "SMEMBERS", "bazbeans:nodes:active")
	k.do("RPUSH", "bazbeans:node:n1:commands", `{"type": "health_check"}`)
	k.wait("executed_health_check", "HGET", "bazbeans:node:n1:status", "status")

	if err := srv.Stop(); err != nil {
		t.Fatal(err)
	}
	a.cancel()
	a.LeaveNow()
	select {
	case err := <-a.ended:
		if err == nil || !strings.Contains(err.Error(), "leave the pool") {
			t.Errorf("error %v", err)
		}
	case <-time.After(soon):
		t.Fatal("the agent does not end while redis is away")
	}
}

func TestWrongPasswordIsTriedOn(t *testing.T) {
	t.Parallel()
	srv := serverstest.Redis(t, "--requirepass", "right")
	a := startReal(t, realConfig("redis://:wrong@"+srv.Addr()+"/0"))
	serverstest.Eventually(t, soon, func() error {
		if a.log.count("wants a password") == 0 {
			return fmt.Errorf("log:\n%s", a.log)
		}
		return nil
	})
	if strings.Contains(a.log.String(), "wrong@") {
		t.Error("the log holds the password")
	}
	owner := redis.NewClient(&redis.Options{Addr: srv.Addr(), Password: "right"})
	defer owner.Close()
	if err := owner.ConfigSet(t.Context(), "requirepass", "wrong").Err(); err != nil {
		t.Fatal(err)
	}
	serverstest.Eventually(t, soon, func() error {
		if a.log.count("redis is back") == 0 {
			return errors.New("not back")
		}
		return nil
	})
}

// A stalled Redis takes what is sent and answers nothing; when it goes on it carries out all of it, each try to
// register too.
func TestRedisStalls(t *testing.T) {
	t.Parallel()
	srv := serverstest.Redis(t)
	k := dial(t, srv)
	if err := srv.Pause(); err != nil {
		t.Fatal(err)
	}
	cfg := realConfig(srv.URL())
	cfg.HeartbeatTTL = Duration(2 * time.Second) // calls are given up the sooner
	a := startReal(t, cfg)
	said := func(n int, text string) {
		t.Helper()
		serverstest.Eventually(t, soon, func() error {
			if got := a.log.count(text); got < n {
				return fmt.Errorf("%q %d times in the log, want %d", text, got, n)
			}
			return nil
		})
	}
	said(1, "redis fails")
	if err := srv.Resume(); err != nil {
		t.Fatal(err)
	}
	said(1, "redis is back")
	k.wait(`["n1"]`, "SMEMBERS", "bazbeans:nodes:active")
	if err := srv.Pause(); err != nil {
		t.Fatal(err)
	}
	said(2, "redis fails")
	a.cancel()
	a.LeaveNow()
	select {
	case err := <-a.ended:
		if err == nil {
			t.Error("no error though it could not leave")
		}
	case <-time.After(soon):
		t.Error("the agent does not end while redis stalls")
	}
	if err := srv.Resume(); err != nil {
		t.Fatal(err)
	}
}
