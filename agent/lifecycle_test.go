package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

// on opens the pool as an operator or a load balancer does.
func (k keys) pool(url string) *pool.Pool {
	k.t.Helper()
	p, err := pool.Open(pool.Config{URL: url})
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { p.Close() })
	return p
}

// wantFreeze waits until the operator's freeze is as wanted; "" for none.
func (k keys) wantFreeze(by, reason string) {
	k.t.Helper()
	serverstest.Eventually(k.t, soon, func() error {
		var f pool.Freeze
		if text := k.do("HGET", "bazbeans:nodes:frozen", "n1"); text != "" {
			if err := json.Unmarshal([]byte(text), &f); err != nil {
				k.t.Fatal(err)
			}
		}
		if f.By != by || f.Reason != reason {
			return fmt.Errorf("freeze %+v, want one by %q: %q", f, by, reason)
		}
		return nil
	})
}

// Redis loses everything, twice: once while the agent lives, once while it does not.
func TestOperatorsFreezeOutlivesRedis(t *testing.T) {
	t.Parallel()
	srv := serverstest.Redis(t)
	k := dial(t, srv)
	cfg := realConfig(srv.URL())
	cfg.StateDir = t.TempDir()
	a := startReal(t, cfg)
	k.wait(`["n1"]`, "SMEMBERS", "bazbeans:nodes:active")
	p := k.pool(srv.URL())
	if _, err := p.Freeze(t.Context(), "n1", "ann@desk", "disk swap"); err != nil {
		t.Fatal(err)
	}
	a.wantLog(t, "frozen by ann@desk: disk swap")
	k.do("FLUSHALL")
	k.wantFreeze("ann@desk", "disk swap")
	k.equal("[]", "SMEMBERS", "bazbeans:nodes:active")
	a.wantLog(t, "redis had lost this node")

	a.cancel()
	if err := <-a.ended; err != nil {
		t.Fatal(err)
	}
	k.do("FLUSHALL")
	startReal(t, cfg)
	k.wantFreeze("ann@desk", "disk swap")
	k.equal("[]", "SMEMBERS", "bazbeans:nodes:active")

	if _, err := p.Unfreeze(t.Context(), "n1", "ann@desk"); err != nil {
		t.Fatal(err)
	}
	k.wait(`["n1"]`, "SMEMBERS", "bazbeans:nodes:active")
	beat := k.do("GET", "bazbeans:node:n1:heartbeat")
	serverstest.Eventually(t, soon, func() error { // the agent has heard of it
		if k.do("GET", "bazbeans:node:n1:heartbeat") == beat {
			return errors.New("no heartbeat since the unfreeze")
		}
		return nil
	})
	k.do("FLUSHALL")
	k.wait(`["n1"]`, "SMEMBERS", "bazbeans:nodes:active")
	k.wantFreeze("", "")
}

func TestStartFrozen(t *testing.T) {
	t.Parallel()
	srv := serverstest.Redis(t)
	k := dial(t, srv)
	cfg := realConfig(srv.URL())
	cfg.Start = StartFrozen
	a := startReal(t, cfg)
	k.wantFreeze("agent --start", "started frozen")
	a.wantLog(t, "node is frozen by agent --start: started frozen")
	k.equal("[]", "SMEMBERS", "bazbeans:nodes:active")
	if _, err := k.pool(srv.URL()).Unfreeze(t.Context(), "n1", "ann"); err != nil {
		t.Fatal(err)
	}
	k.wait(`["n1"]`, "SMEMBERS", "bazbeans:nodes:active")
	// A node that is known goes on as it was: an agent that is restarted takes nothing out of traffic.
	a.cancel()
	if err := <-a.ended; err != nil {
		t.Fatal(err)
	}
	startReal(t, cfg).wantLog(t, "node is active")
	k.wantFreeze("", "")
}

func (r *real) wantLog(t *testing.T, text string) {
	t.Helper()
	serverstest.Eventually(t, soon, func() error {
		if r.log.count(text) == 0 {
			return fmt.Errorf("the log does not say %q:\n%s", text, r.log)
		}
		return nil
	})
}

// A node that is stopped leaves when the load balancers have let go of it, and not before.
func TestDrainInRedis(t *testing.T) {
	t.Parallel()
	srv := serverstest.Redis(t)
	k := dial(t, srv)
	a := startReal(t, realConfig(srv.URL()))
	k.wait(`["n1"]`, "SMEMBERS", "bazbeans:nodes:active")
	p := k.pool(srv.URL())
	ack := func(change func(*pool.Ack)) {
		t.Helper()
		n, err := p.Node(t.Context(), "n1")
		if err != nil {
			t.Fatal(err)
		}
		is := pool.Ack{ID: "lb1", Rev: n.Rev}
		change(&is)
		if _, err := p.WriteAck(t.Context(), is, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	ack(func(*pool.Ack) {})
	a.cancel()
	k.wait("[]", "SMEMBERS", "bazbeans:nodes:active")
	k.wait("drains: its agent stops", "HGET", "bazbeans:node:n1:status", "self_freeze")
	ack(func(is *pool.Ack) { is.Draining = 1 })
	beat := k.do("GET", "bazbeans:node:n1:heartbeat")
	serverstest.Eventually(t, soon, func() error {
		if now := k.do("GET", "bazbeans:node:n1:heartbeat"); now == beat || now == "" {
			return fmt.Errorf("heartbeat %s", now)
		}
		return nil
	})
	select {
	case err := <-a.ended:
		t.Fatalf("it left while an old worker still drains: %v", err)
	default:
	}
	ack(func(*pool.Ack) {})
	select {
	case err := <-a.ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(soon):
		t.Fatal("it does not leave")
	}
	k.equal("0", "EXISTS", "bazbeans:node:n1:heartbeat")
	k.equal("left", "HGET", "bazbeans:node:n1:status", "status")
}

// The same with the process and its signals: the second one is enough.
func TestSecondSignalLeavesAtOnce(t *testing.T) {
	t.Parallel()
	srv := serverstest.Redis(t)
	k := dial(t, srv)
	if _, err := k.pool(srv.URL()).WriteAck(t.Context(), pool.Ack{ID: "lb1"}, time.Minute); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*soon)
	defer cancel()
	cmd, says := binary(t, "--redis-url", srv.URL(), "--node-id", "n1", "--address", "127.0.0.9", "--drain-timeout", "10m", "--cpu-threshold", "100", "--memory-threshold", "100",
		"--state-dir", t.TempDir())
	context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	says("node is active")
	for _, text := range []string{"drains: waits for the load balancers", "left the pool"} {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		says(text)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	k.equal("0", "EXISTS", "bazbeans:node:n1:heartbeat")
}

// Every core is busy, with twice as many burners as it has, in the agent's own process and beside it. What counts is
// that heartbeats go on, and that none was ever missed: Redis counts the keys that expire.
func TestHeartbeatsUnderFullLoad(t *testing.T) {
	srv := serverstest.Redis(t)
	k := dial(t, srv)
	cfg := realConfig(srv.URL())
	var burning sync.WaitGroup
	defer burning.Wait()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	a := newReal(t, cfg)
	a.HealthCheck("burns", func(check context.Context) error {
		for check.Err() == nil && ctx.Err() == nil {
		}
		return nil
	})
	a.run(t)
	cmd, says := binary(t, "--redis-url", srv.URL(), "--node-id", "n2", "--address", "127.0.0.9", "--cpu-threshold", "100", "--memory-threshold", "100",
		"--heartbeat-interval", "0.2", "--heartbeat-ttl", "30", "--state-dir", t.TempDir())
	says("node is active")
	for range 2 * runtime.NumCPU() {
		burning.Go(func() {
			for ctx.Err() == nil {
			}
		})
	}
	beats := map[string]string{}
	for range 10 {
		for _, id := range []string{"n1", "n2"} {
			serverstest.Eventually(t, soon, func() error {
				now := k.do("GET", "bazbeans:node:"+id+":heartbeat")
				if now == beats[id] {
					return fmt.Errorf("no heartbeat of %s since %s", id, now)
				}
				beats[id] = now
				return nil
			})
		}
	}
	stop()
	burning.Wait()
	stats := k.do("INFO", "stats")
	if _, n, _ := strings.Cut(stats, "\r\nexpired_keys:"); !strings.HasPrefix(n, "0\r\n") {
		t.Errorf("heartbeats expired: expired_keys %q", strings.SplitN(n, "\r\n", 2)[0])
	}
	for _, id := range []string{"n1", "n2"} {
		k.equal("1", "EXISTS", "bazbeans:node:"+id+":heartbeat")
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	says("left the pool")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
