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

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

const soon = time.Minute // bound of every wait; none is that long

// real is an agent on a real Redis.
type real struct {
	*Agent
	log    *logged
	ended  chan error
	cancel context.CancelFunc
}

// realConfig beats fast; figures of this machine must not decide a test, and neither must how long it stands still.
func realConfig(url string) Config {
	cfg := Defaults()
	cfg.Redis.URL, cfg.NodeID, cfg.Address, cfg.StateDir = url, "n1", "10.0.0.1", ""
	cfg.DataCenter, cfg.Labels = "dc1", map[string]string{"zone": "a"}
	cfg.HeartbeatInterval, cfg.HeartbeatTTL = Duration(200*time.Millisecond), Duration(30*time.Second)
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
	rdb := redis.NewClient(&redis.Options{Addr: srv.Addr(), ReadTimeout: soon, WriteTimeout: soon}) // a command that took long is not sent twice
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
