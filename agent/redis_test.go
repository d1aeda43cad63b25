package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

const soon = 10 * time.Second // bound of every wait; none is that long

// real is an agent on a real Redis.
type real struct {
	*Agent
	log    *logged
	ended  chan error
	cancel context.CancelFunc
}

// realConfig beats fast; figures of this machine must not decide a test.
func realConfig(url string) Config {
	cfg := Defaults()
	cfg.Redis.URL, cfg.NodeID, cfg.Address = url, "n1", "10.0.0.1"
	cfg.DataCenter, cfg.Labels = "dc1", map[string]string{"zone": "a"}
	cfg.HeartbeatInterval, cfg.HeartbeatTTL = Duration(200*time.Millisecond), Duration(2*time.Second)
	cfg.CommandPollInterval = Duration(200 * time.Millisecond)
	cfg.Sampler = func(context.Context) (pool.Metrics, error) {
		return pool.Metrics{CPU: 12.5, Memory: 34, Disk: 56}, nil
	}
	return cfg
}

func newReal(t *testing.T, cfg Config) *real {
	t.Helper()
	r := &real{log: &logged{}, ended: make(chan error, 1)}
	cfg.Log = slog.New(slog.NewTextHandler(r.log, nil))
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Agent = a
	return r
}

// run starts the agent; the test's end stops it.
func (r *real) run(t *testing.T) *real {
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.ended <- r.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if t.Failed() {
			t.Logf("the agent's log:\n%s", r.log)
		}
	})
	return r
}

func startReal(t *testing.T, cfg Config) *real { return newReal(t, cfg).run(t) }

// keys reads Redis as any program would.
type keys struct {
	t   *testing.T
	rdb *redis.Client
}

func dial(t *testing.T, srv *servers.Redis) keys {
	rdb := redis.NewClient(&redis.Options{Addr: srv.Addr()})
	t.Cleanup(func() { rdb.Close() })
	return keys{t, rdb}
}

// do sends a command and returns its reply as text: a list as JSON.
func (k keys) do(args ...any) string {
	k.t.Helper()
	v, err := k.rdb.Do(k.t.Context(), args...).Result()
	if errors.Is(err, redis.Nil) {
		return ""
	}
	if err != nil {
		k.t.Fatal(err)
	}
	switch v := v.(type) {
	case []any:
		return toJSON(k.t, v)
	}
	return fmt.Sprint(v)
}

// wait asks until the reply is what is wanted.
func (k keys) wait(want string, args ...any) {
	k.t.Helper()
	serverstest.Eventually(k.t, soon, func() error {
		if got := k.do(args...); got != want {
			return fmt.Errorf("%v: %s, want %s", args, got, want)
		}
		return nil
	})
}

func (k keys) equal(want string, args ...any) {
	k.t.Helper()
	if got := k.do(args...); got != want {
		k.t.Errorf("%v: got\n%s\nwant\n%s", args, got, want)
	}
}

// events subscribes, and returns the next event without what time gives it; rev and timestamp are checked here.
func (k keys) events() func() string {
	sub := k.rdb.Subscribe(k.t.Context(), "bazbeans:lb_events")
	k.t.Cleanup(func() { sub.Close() })
	if _, err := sub.Receive(k.t.Context()); err != nil {
		k.t.Fatal(err)
	}
	messages := sub.Channel()
	return func() string {
		k.t.Helper()
		select {
		case m := <-messages:
			return k.timeless(m.Payload)
		case <-time.After(soon):
			k.t.Fatal("no event")
			return ""
		}
	}
}

func (k keys) timeless(event string) string {
	k.t.Helper()
	var e map[string]any
	if err := json.Unmarshal([]byte(event), &e); err != nil {
		k.t.Fatalf("event %s: %v", event, err)
	}
	if ts, _ := e["timestamp"].(string); !strings.HasSuffix(ts, "Z") {
		k.t.Errorf("timestamp %q", ts)
	} else if _, err := time.Parse(time.RFC3339, ts); err != nil {
		k.t.Error(err)
	}
	rev, _ := e["rev"].(float64)
	prev, isNumber := e["prev"].(float64)
	if !isNumber || rev <= prev {
		k.t.Errorf("rev %v after %v", e["rev"], e["prev"])
	}
	for _, name := range []string{"timestamp", "rev", "prev"} {
		delete(e, name)
	}
	return toJSON(k.t, e)
}

func TestLifeInRedis(t *testing.T) {
	t.Parallel()
	srv := serverstest.Redis(t)
	k := dial(t, srv)
	next := k.events()
	a := startReal(t, realConfig(srv.URL()))

	const active = `,"event":"node_registered","node_id":"n1","node_port":8000,"reason":""}`
	if got := next(); got != `{"active_count":1,"active_nodes":["n1"],"by":"agent","data_center":"dc1"`+active {
		t.Errorf("event %s", got)
	}
	k.equal(`["n1"]`, "SMEMBERS", "bazbeans:nodes:all")
	k.equal(`["n1"]`, "SMEMBERS", "bazbeans:nodes:active")
	k.equal("10.0.0.1", "HGET", "bazbeans:node_ips", "n1")
	k.equal(`["active","dc1","false","true","10.0.0.1","8000","1","{\"zone\":\"a\"}"]`, "HMGET", "bazbeans:node:n1:status",
		"status", "data_center", "is_frozen", "is_active", "address", "port", "weight", "labels")
	serverstest.Eventually(t, soon, func() error {
		var beat map[string]any
		if err := json.Unmarshal([]byte(k.do("GET", "bazbeans:node:n1:heartbeat")), &beat); err != nil {
			return err
		}
		if age := time.Since(time.UnixMilli(int64(beat["timestamp"].(float64) * 1000))); age > soon || age < -time.Second {
			t.Errorf("heartbeat is %v old", age)
		}
		if !strings.HasSuffix(beat["instance"].(string), "/"+a.instance) {
			t.Errorf("instance %q", beat["instance"])
		}
		delete(beat, "timestamp")
		delete(beat, "instance")
		got := toJSON(t, beat)
		if want := `{"addr":"10.0.0.1","agent":"` + cli.Version() + `","cpu_percent":12.5,"data_center":"dc1","disk_percent":56,"is_active":true,` +
			`"is_frozen":false,"memory_percent":34,"node_id":"n1"}`; got != want {
			return fmt.Errorf("heartbeat %s, want %s", got, want)
		}
		return nil
	})
	if ttl := k.rdb.PTTL(t.Context(), "bazbeans:node:n1:heartbeat").Val(); ttl <= 0 || ttl > 2*time.Second {
		t.Errorf("heartbeat lives for %v", ttl)
	}

	k.do("FLUSHALL")
	if got := next(); got != `{"active_count":1,"active_nodes":["n1"],"by":"agent","data_center":"dc1"`+active {
		t.Errorf("event after a flush %s", got)
	}
	k.equal("10.0.0.1", "HGET", "bazbeans:node_ips", "n1")

	a.cancel()
	if got := next(); got != `{"active_count":0,"active_nodes":[],"by":"agent","event":"node_removed","node_id":"n1","reason":"agent stopped"}` {
		t.Errorf("event %s", got)
	}
	if err := <-a.ended; err != nil {
		t.Errorf("run: %v", err)
	}
	k.equal(`["n1"]`, "SMEMBERS", "bazbeans:nodes:all")
	k.equal("[]", "SMEMBERS", "bazbeans:nodes:active")
	k.equal("0", "EXISTS", "bazbeans:node:n1:heartbeat")
}

func TestFreezesItselfInRedis(t *testing.T) {
	t.Parallel()
	srv := serverstest.Redis(t)
	k := dial(t, srv)
	next := k.events()
	cfg := realConfig(srv.URL())
	machine := &figures{}
	cfg.Sampler = machine.sample
	startReal(t, cfg)
	next()
	machine.set(97, 50)
	if got := next(); got != `{"active_count":0,"active_nodes":[],"by":"agent","event":"node_frozen","node_id":"n1","reason":"cpu 97.0% is above 90%"}` {
		t.Errorf("event %s", got)
	}
	k.equal("true", "HGET", "bazbeans:node:n1:status", "is_frozen")
	machine.set(5, 50)
	if got := next(); got != `{"active_count":1,"active_nodes":["n1"],"by":"agent","event":"node_unfrozen","node_id":"n1","reason":""}` {
		t.Errorf("event %s", got)
	}
}

// The commands are pushed as the original system's CLI does.
func TestCommandsOfThePythonCLI(t *testing.T) {
	t.Parallel()
	srv := serverstest.Redis(t)
	k := dial(t, srv)
	next := k.events()
	a := newReal(t, realConfig(srv.URL()))
	a.HealthCheck("app", func(context.Context) error { return nil })
	a.run(t)
	next()
	push := func(command string) { k.do("RPUSH", "bazbeans:node:n1:commands", command) }
	status := []any{"HGET", "bazbeans:node:n1:status", "status"}

	push(`{"type": "freeze", "reason": "maintenance"}`)
	if got := next(); got != `{"active_count":0,"active_nodes":[],"by":"queue","event":"node_frozen","node_id":"n1","reason":"maintenance"}` {
		t.Errorf("event %s", got)
	}
	k.wait("executed_freeze", status...)
	k.equal("[]", "SMEMBERS", "bazbeans:nodes:active")
	var freeze pool.Freeze
	if err := json.Unmarshal([]byte(k.do("HGET", "bazbeans:nodes:frozen", "n1")), &freeze); err != nil || freeze.By != "queue" || freeze.Reason != "maintenance" {
		t.Errorf("freeze %+v, error %v", freeze, err)
	}

	push(`not JSON`)
	push(`{"type": "exec", "command": "docker ps"}`)
	k.wait("executed_exec", status...)
	k.equal(`{"status":"refused","error":"unknown command \"exec\"; this agent knows freeze, health_check, unfreeze"}`, "HGET", "bazbeans:node:n1:status", "details")
	if a.log.count("command thrown away") != 1 {
		t.Error("the log does not say that a command was no command")
	}

	push(`{"type": "health_check"}`)
	k.wait("executed_health_check", status...)
	k.equal(`{"status":"completed","result":{"healthy":true,"cpu_percent":12.5,"memory_percent":34,"disk_percent":56,"checks":{"app":"ok"}}}`,
		"HGET", "bazbeans:node:n1:status", "details")

	push(`{"type": "unfreeze"}`)
	if got := next(); got != `{"active_count":1,"active_nodes":["n1"],"by":"queue","event":"node_unfrozen","node_id":"n1","reason":""}` {
		t.Errorf("event %s", got)
	}
	k.wait("executed_unfreeze", status...)
	k.equal("0", "EXISTS", "bazbeans:nodes:frozen")
}

func TestUnfreezeLeavesTheNodesOwnFreeze(t *testing.T) {
	t.Parallel()
	srv := serverstest.Redis(t)
	k := dial(t, srv)
	a := newReal(t, realConfig(srv.URL()))
	a.HealthCheck("app", func(context.Context) error { return errSick })
	a.run(t)
	k.wait("true", "HGET", "bazbeans:node:n1:status", "is_frozen")
	k.equal("check app: no answer from the application", "HGET", "bazbeans:node:n1:status", "details")
	k.do("RPUSH", "bazbeans:node:n1:commands", `{"type": "unfreeze"}`)
	k.wait("executed_unfreeze", "HGET", "bazbeans:node:n1:status", "status")
	k.equal("true", "HGET", "bazbeans:node:n1:status", "is_frozen")
	if details := k.do("HGET", "bazbeans:node:n1:status", "details"); !strings.Contains(details, `"stays_frozen":"check app: no answer from the application"`) {
		t.Errorf("details %s", details)
	}
}

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
	a := startReal(t, realConfig(srv.URL()))
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
