package pool_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

// cast is who works with one pool: each with the connection, and the rights, that it has in production.
type cast struct{ lbd, agent, operator *pool.Pool }

// connect opens a pool, for the test.
func connect(t *testing.T, cfg pool.Config) *pool.Pool {
	t.Helper()
	p, err := pool.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// castOf gives all of them one configuration.
func castOf(t *testing.T, cfg pool.Config) cast {
	return cast{connect(t, cfg), connect(t, cfg), connect(t, cfg)}
}

// do fails the test when a call fails, and says which.
func do(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// life plays what lbd, the agent of web3 and an operator do in the pool, each call of theirs at least once.
func (c cast) life(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	heard := listen(t, c.lbd)
	heard.wait(t, "subscribed")
	agent := listen(t, c.agent)
	agent.wait(t, "subscribed")

	m, st, err := c.agent.Register(ctx, registration("web3"), "starting")
	if err != nil || st.Active {
		t.Fatalf("register: %+v, %v", st, err)
	}
	if st, err = m.SetHealth(ctx, ""); err != nil || !st.Active {
		t.Fatalf("well: %+v, %v", st, err)
	}
	heard.wait(t, "node_registered", "node_unfrozen")
	c.look(t, pool.Active)
	ips, err := c.lbd.NodeIPs(ctx, []string{"web3"})
	if do(t, "node_ips", err); ips["web3"] != "10.0.0.1" {
		t.Errorf("node_ips %v", ips)
	}
	c.commands(t, ctx, m.Instance())

	change, err := c.operator.Freeze(ctx, "web3", "ann", "swap")
	if do(t, "freeze", err); !change.Changed {
		t.Errorf("freeze: %+v", change)
	}
	heard.wait(t, "node_frozen")
	agent.wait(t, "node_registered", "node_unfrozen", "node_frozen")
	c.look(t, pool.Frozen)
	if st, err := m.Heartbeat(ctx, pool.Metrics{CPU: 1}); err != nil || st.Active || st.Freeze == nil {
		t.Errorf("heartbeat of a frozen node: %+v, %v", st, err)
	}
	_, err = c.lbd.WriteAck(ctx, pool.Ack{ID: "lb1", Rev: change.Rev, Instance: "i1"}, time.Minute)
	do(t, "ack", err)
	if s, err := c.lbd.SnapshotFor(ctx, "lb1", nil); err != nil || s.Unacked {
		t.Errorf("lbd looks for its ack: %+v, %v", s, err)
	}
	do(t, "wait until drained, operator", c.operator.WaitDrained(ctx, change.Rev, []string{"web3"}, nil))
	do(t, "wait until drained, agent", c.agent.WaitDrained(ctx, change.Rev, []string{"web3"}, nil))
	if change, err = c.operator.Unfreeze(ctx, "web3", "ann"); err != nil || !change.Changed {
		t.Errorf("unfreeze: %+v, %v", change, err)
	}
	heard.wait(t, "node_unfrozen")
	_, err = c.agent.FreezeQueued(ctx, "web3", "queue", "by python")
	do(t, "freeze from the queue", err)
	_, err = c.agent.UnfreezeQueued(ctx, "web3", "queue")
	do(t, "unfreeze from the queue", err)
	c.look(t, pool.Active)

	do(t, "leave", m.Leave(ctx, "bye"))
	_, _, err = c.agent.Register(ctx, short("web3"), "")
	do(t, "register again", err)
	serverstest.Eventually(t, time.Minute, func() error {
		gone, err := c.operator.Cleanup(ctx, "ann")
		if err == nil && !slices.Equal(gone, []string{"web3"}) {
			err = fmt.Errorf("cleaned up %v", gone)
		}
		return err
	})
	events, err := c.operator.Events(ctx, "", 100)
	if do(t, "events", err); len(events) < 8 {
		t.Errorf("only %d events: %+v", len(events), events)
	}
	c.follow(t, ctx)
	_, err = c.operator.Forget(ctx, "web3", "ann")
	do(t, "forget", err)
	do(t, "forget lb1", c.operator.ForgetLB(ctx, "lb1", "ann"))
}

// short is a registration whose heartbeat expires at once.
func short(id string) pool.Registration {
	r := registration(id)
	r.TTL = 10 * time.Millisecond
	return r
}

// look has lbd and the operator look at web3.
func (c cast) look(t *testing.T, want pool.State) {
	t.Helper()
	for name, look := range map[string]func(context.Context) (*pool.Snapshot, error){"lbd": c.lbd.Snapshot, "operator": c.operator.FullSnapshot} {
		s, err := look(t.Context())
		if err != nil || len(s.Nodes) != 1 || s.Nodes[0].State() != want {
			t.Errorf("%s looks: %+v, %v; want %s", name, s, err, want)
		}
	}
	for name, p := range map[string]*pool.Pool{"agent": c.agent, "operator": c.operator} {
		if n, err := p.Node(t.Context(), "web3"); err != nil || n.State() != want {
			t.Errorf("%s looks at web3: %+v, %v; want %s", name, n, err, want)
		}
	}
}

// commands sends some, and has the agent take each in another way.
func (c cast) commands(t *testing.T, ctx context.Context, instance string) {
	t.Helper()
	var ids []string
	for range 3 {
		sent := pool.NewCommand("exec", "ann", time.Minute, map[string]any{"command": "ls"})
		do(t, "send", c.operator.Send(ctx, "web3", sent))
		ids = append(ids, sent.ID)
	}
	next := func() pool.Taken {
		taken, ok, err := c.agent.Next(ctx, "web3", time.Second)
		if err != nil || !ok {
			t.Fatalf("next: %t, %v", ok, err)
		}
		return taken
	}
	do(t, "give back", c.agent.GiveBack(ctx, "web3", next()))
	taken := next()
	if begun, err := c.agent.Begin(ctx, "web3", instance, taken); err != nil || !begun.Run {
		t.Errorf("begin: %+v, %v", begun, err)
	}
	do(t, "finish", c.agent.Finish(ctx, taken, pool.Result{ID: taken.ID, Node: "web3", Type: "exec", State: pool.Succeeded}))
	next()
	hand, _, err := c.agent.InHand(ctx, "web3", 10)
	if err != nil || len(hand) != 1 {
		t.Fatalf("in hand: %+v, %v", hand, err)
	}
	do(t, "drop", c.agent.Drop(ctx, "web3", hand[0], "not today"))
	if r, err := c.operator.Result(ctx, ids[0]); err != nil || r.State != pool.Succeeded {
		t.Errorf("result: %+v, %v", r, err)
	}
	if rs, err := c.operator.LastCommands(ctx, "web3", 10); err != nil || len(rs) != 3 {
		t.Errorf("last commands: %+v, %v", rs, err)
	}
	_, err = c.operator.PythonReport(ctx, "web3")
	do(t, "python's report", err)
}

// follow has the operator follow the events until one comes.
func (c cast) follow(t *testing.T, ctx context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := c.operator.Follow(ctx, "0", func(pool.Recorded) { cancel() }, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("follow ended with %v", err)
	}
}

// ears is what a Watch has heard.
type ears struct {
	mu    sync.Mutex
	heard []string
	deaf  []error
	seen  int // how much of heard was waited for
}

// listen runs Watch until the test ends.
func listen(t *testing.T, p *pool.Pool) *ears {
	e := &ears{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- p.Watch(ctx, func(w pool.Wake) {
			e.mu.Lock()
			defer e.mu.Unlock()
			switch {
			case w.Deaf != nil:
				e.deaf = append(e.deaf, w.Deaf)
			case w.Subscribed:
				e.heard = append(e.heard, "subscribed")
			case w.Event == nil:
				e.heard = append(e.heard, "rubbish")
			default:
				e.heard = append(e.heard, w.Event.Kind)
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("watch ended with %v", err)
		}
	})
	return e
}

// wait waits until exactly these were heard since the last wait.
func (e *ears) wait(t *testing.T, want ...string) {
	t.Helper()
	serverstest.Eventually(t, time.Minute, func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		if new := e.heard[e.seen:]; !slices.Equal(new, want) {
			return fmt.Errorf("heard %s, want %s; deaf: %v", strings.Join(new, " "), strings.Join(want, " "), errors.Join(e.deaf...))
		}
		e.seen += len(want)
		return nil
	})
}

// waitDeaf waits until Watch has said that there is no subscription, in these words.
func (e *ears) waitDeaf(t *testing.T, parts ...string) {
	t.Helper()
	serverstest.Eventually(t, time.Minute, func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, err := range e.deaf {
			if contains(err.Error(), parts...) {
				return nil
			}
		}
		return fmt.Errorf("deaf: %v", errors.Join(e.deaf...))
	})
}

func contains(s string, parts ...string) bool {
	for _, part := range parts {
		if !strings.Contains(s, part) {
			return false
		}
	}
	return true
}

// secretFile is a password_file.
func secretFile(t *testing.T, secret string) string {
	t.Helper()
	name := filepath.Join(serverstest.Dir(t), "password")
	if err := os.WriteFile(name, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
