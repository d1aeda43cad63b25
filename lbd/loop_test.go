package lbd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bazbeans/bazbeans/lbd/nginx"
	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/step"
)

// fakePool is a registry in memory: what the loop reads of Redis, at a moment of the bubble's time.
type fakePool struct {
	mu    sync.Mutex
	rev   int64
	nodes map[string]pool.Node
	away  error
	wakes chan pool.Wake
	acks  []pool.Ack
	looks int
	first []string      // what the last look was to see before all else
	acked string        // the instance in our ack; "": there is none
	rival string        // another instance that writes our ack
	slow  time.Duration // what a look takes
	full  error         // what every write is answered with
	ttl   time.Duration // of heartbeats; default an hour
	cut   string        // see cutOff
	onAck func(rev int64)
}

func (f *fakePool) SnapshotFor(ctx context.Context, _ string, first []string) (*pool.Snapshot, error) {
	f.mu.Lock()
	f.first = first
	slow, cut := f.slow, f.cut
	f.mu.Unlock()
	if err := cutOff(ctx, cut, "look"); err != nil {
		return nil, err
	}
	time.Sleep(slow)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	if f.away != nil {
		return nil, f.away
	}
	s := &pool.Snapshot{Rev: f.rev, Taken: time.Now(), Unacked: f.acked == ""}
	for _, n := range f.nodes {
		n.Alive = n.Expires.After(time.Now())
		s.Nodes = append(s.Nodes, n)
	}
	slices.SortFunc(s.Nodes, func(a, b pool.Node) int { return strings.Compare(a.ID, b.ID) })
	return s, nil
}

func (f *fakePool) Watch(ctx context.Context, fn func(pool.Wake)) error {
	fn(pool.Wake{Subscribed: true})
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case w := <-f.wakes:
			fn(w)
		}
	}
}

func (f *fakePool) WriteAck(ctx context.Context, a pool.Ack, _ time.Duration) (string, error) {
	f.mu.Lock()
	hook, cut := f.onAck, f.cut
	f.mu.Unlock()
	if err := cutOff(ctx, cut, "ack"); err != nil {
		return "", err
	}
	if hook != nil {
		hook(a.Rev)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full != nil {
		return "", f.full
	}
	if f.away != nil {
		return "", f.away
	}
	f.acks = append(f.acks, a)
	before := cmp.Or(f.rival, f.acked)
	f.acked = a.Instance
	return before, nil
}

func (f *fakePool) lastAck() pool.Ack {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.acks) == 0 {
		return pool.Ack{}
	}
	return f.acks[len(f.acks)-1]
}

func (f *fakePool) Where() string { return "memory" }
func (f *fakePool) Close() error  { return nil }

// set changes nodes ("web1", frozen with a "-" before it), with an event of ours.
func (f *fakePool) set(ids ...string) {
	f.mu.Lock()
	f.rev++
	for _, id := range ids {
		id, frozen := strings.CutPrefix(id, "-")
		n := pool.Node{ID: id, Agent: "1", Registered: true, Active: !frozen, Weight: 1, Rev: f.rev, Port: 8000,
			Address: netip.AddrFrom4([4]byte{10, 0, 0, id[len(id)-1]}), Expires: time.Now().Add(cmp.Or(f.ttl, time.Hour))}
		if frozen {
			n.Freeze = &pool.Freeze{}
		}
		f.nodes[id] = n
	}
	f.mu.Unlock()
	f.wakes <- pool.Wake{Event: &pool.Event{Kind: pool.NodeRegistered, Rev: f.rev}}
}

// change changes one node without an event.
func (f *fakePool) change(id string, fn func(*pool.Node)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[id]
	fn(&n)
	f.nodes[id] = n
}

// fakeEngine is an Nginx that takes 100 ms for a reload and refuses what it is told to.
type fakeEngine struct {
	mu      sync.Mutex
	live    string
	applied []string // when, and with which servers
	refuse  func(text string) error
	start   time.Time
	former  int    // old generations that have workers left
	quick   bool   // it needs no reload
	master  int    // default 1
	foreign bool   // what is refused is not what lbd wrote
	anew    int    // reloads to let go of what is not on disk any more
	cut     string // see cutOff
}

// cutOff is one of the calls that may be under way when the loop ends: the one that was chosen waits for that, and fails then.
func cutOff(ctx context.Context, chosen, call string) error {
	if call != chosen {
		return nil
	}
	<-ctx.Done()
	return fmt.Errorf("%s: %w", call, ctx.Err())
}

func (e *fakeEngine) Test(_ context.Context, p *Plan) error { return e.refuse(text(p)) }

func (e *fakeEngine) Apply(ctx context.Context, p *Plan) (Outcome, error) {
	if err := cutOff(ctx, e.cuts(), "apply"); err != nil {
		return Outcome{}, err
	}
	done, err := e.take(p)
	if done || err != nil {
		return Outcome{Outcome: nginx.Outcome{Running: err == nil, Foreign: err != nil && e.foreign}}, err
	}
	time.Sleep(100 * time.Millisecond) // the bubble's time: what a reload takes
	return Outcome{Outcome: nginx.Outcome{Changed: true, Reloaded: true, Running: true}}, nil
}

// take makes the plan live, unless it is refused or live already.
func (e *fakeEngine) take(p *Plan) (done bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := text(p)
	if p.anew {
		e.anew++
	}
	if err := e.refuse(now); err != nil || now == e.live {
		return true, err
	}
	e.live = now
	e.applied = append(e.applied, fmt.Sprintf("%s %s", time.Since(e.start).Round(100*time.Millisecond), serversIn(now)))
	return false, nil
}

// serving names the servers in what is live, once nothing moves.
func (e *fakeEngine) serving() string {
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	return serversIn(e.live)
}

func (e *fakeEngine) Reloads(*Plan) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.quick
}

func (e *fakeEngine) Ahead(context.Context, *Plan) error { return nil }
func (e *fakeEngine) Close() error                       { return nil }

func (e *fakeEngine) cuts() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cut
}

func (e *fakeEngine) State(ctx context.Context) (State, error) {
	if err := cutOff(ctx, e.cuts(), "state"); err != nil {
		return State{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return State{State: nginx.State{Master: cmp.Or(e.master, 1), Workers: 1, Former: e.former, Draining: e.former, ShutdownTimeout: time.Minute}}, nil
}

func text(p *Plan) string {
	var b strings.Builder
	for _, f := range p.Files {
		b.Write(f.Data)
	}
	return b.String()
}

var serverLine = regexp.MustCompile(`(?m)^ *server \S+:8000; # (\S+)$`)

// serversIn names the servers in a rendered text.
func serversIn(text string) string {
	var names []string
	for _, m := range serverLine.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

// bubble runs a loop over doubles in a bubble of time until test returns.
func bubble(t *testing.T, test func(t *testing.T, f *fakePool, e *fakeEngine, l *LB)) {
	t.Helper()
	bubbleWith(t, func(*Config) {}, test)
}

// bubbleWith is bubble with a config of its own.
func bubbleWith(t *testing.T, change func(*Config), test func(t *testing.T, f *fakePool, e *fakeEngine, l *LB)) {
	t.Helper()
	state := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.ID, cfg.StateDir, cfg.Status.Listen, cfg.AllowNetworks = "lb1", state, "", []string{"10.0.0.0/8"}
		cfg.Upstreams = []UpstreamConfig{defaultUpstream()}
		cfg.Upstreams[0].Output = filepath.Join(state, "up.conf")
		change(&cfg)
		l, err := New(cfg, silent)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil { // the real pool: not used
			t.Fatal(err)
		}
		f := &fakePool{rev: 1, nodes: map[string]pool.Node{}, wakes: make(chan pool.Wake)}
		e := &fakeEngine{start: time.Now(), refuse: func(string) error { return nil }}
		l.pool, l.engine = f, e
		l.own.configured = func(context.Context) ([]netip.AddrPort, error) { return nil, nil }
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- l.Run(ctx) }()
		synctest.Wait()
		defer func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("run ended with %v", err)
			}
		}()
		test(t, f, e, l)
	})
}

func (e *fakeEngine) want(t *testing.T, applied ...string) {
	t.Helper()
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Equal(e.applied, applied) {
		t.Fatalf("applied %q, want %q", e.applied, applied)
	}
}

func TestFirstChangeAtOnceThenABudget(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, _ *LB) {
		e.want(t, "0s ")
		time.Sleep(10 * time.Second)
		f.set("web1", "web2", "web3")
		e.want(t, "0s ", "10s web1,web2,web3")
		for i := range 5 { // a change each 300 ms
			time.Sleep(300 * time.Millisecond)
			if i%2 == 0 {
				f.set("-web1")
			} else {
				f.set("web1")
			}
		}
		time.Sleep(5 * time.Second)
		// 10.0 + 0.1 of reload + 1 s; the last one is deferred, not dropped.
		e.want(t, "0s ", "10s web1,web2,web3", "11.1s web2,web3")
		if a := f.lastAck(); a.Rev != f.rev || len(a.Held) != 0 {
			t.Errorf("ack %+v, rev %d", a, f.rev)
		}
		f.set("-web2")
		e.want(t, "0s ", "10s web1,web2,web3", "11.1s web2,web3", "16.5s web3")
	})
}

func TestExpiryIsNoticedAtItsMoment(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, _ *LB) {
		f.set("web1", "web2", "web3")
		time.Sleep(ttlMost) // the grace after a start is over
		f.change("web2", func(n *pool.Node) { n.Expires = time.Now().Add(1500 * time.Millisecond) })
		f.set("web3") // a look, so that the new expiry is known
		time.Sleep(1400 * time.Millisecond)
		e.want(t, "0s ", "1.1s web1,web2,web3")
		time.Sleep(300 * time.Millisecond)
		e.want(t, "0s ", "1.1s web1,web2,web3", "5m1.5s web1,web3")
	})
}

func TestPythonIsLookedAtAgain(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, _ *LB) {
		time.Sleep(2 * time.Second)
		f.wakes <- pool.Wake{Event: &pool.Event{Kind: pool.NodeRegistered}} // published before it is written
		synctest.Wait()
		f.change("py1", func(n *pool.Node) {
			*n = pool.Node{ID: "py1", Agent: "1", Active: true, Weight: 1, Address: netip.MustParseAddr("10.0.0.9"), Expires: time.Now().Add(time.Hour)}
		})
		time.Sleep(1100 * time.Millisecond)
		e.want(t, "0s ", "3s py1")
	})
}

func TestRedisAwayKeepsAll(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		f.set("web1", "web2")
		time.Sleep(2 * time.Second)
		f.mu.Lock()
		f.away = errors.New("connection refused")
		f.mu.Unlock()
		time.Sleep(10 * time.Minute)
		e.want(t, "0s ", "1.1s web1,web2")
		if s, _ := l.board.read(&l.cfg); s.Redis.Connected || len(s.Problems) == 0 || !strings.Contains(s.Problems[0], "refused") {
			t.Errorf("status %+v", s.Redis)
		}
		f.mu.Lock()
		looks := f.looks
		f.away = nil
		f.mu.Unlock()
		if looks > 140 {
			t.Errorf("%d looks in 10 minutes at a redis that is away", looks)
		}
		f.set("-web2") // over the connection that came back
		e.want(t, "0s ", "1.1s web1,web2", "10m2s web1")
	})
}

func TestEmptyNeverReplacesGood(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		f.set("web1", "web2")
		time.Sleep(2 * time.Second)
		f.mu.Lock()
		f.nodes, f.rev = map[string]pool.Node{}, 0 // flushed
		f.mu.Unlock()
		time.Sleep(10 * time.Minute)
		e.want(t, "0s ", "1.1s web1,web2")
		s, _ := l.board.read(&l.cfg)
		if !s.Guard.Held || !slices.Equal(s.Guard.Nodes, []string{"web1", "web2"}) || len(s.Problems) == 0 {
			t.Errorf("guard %+v", s.Guard)
		}
		if a := f.lastAck(); !slices.Equal(a.Held, []string{"web1", "web2"}) {
			t.Errorf("ack %+v", a)
		}
		f.set("web1")
		time.Sleep(50 * time.Second) // the hold begins when somebody is there
		e.want(t, "0s ", "1.1s web1,web2")
		time.Sleep(20 * time.Second)
		if got := e.serving(); got != "web1" {
			t.Errorf("after the hold: %s", got)
		}
		f.set("web2")
		time.Sleep(2 * time.Second)
		if a := f.lastAck(); len(a.Held) != 0 || a.Rev != f.rev {
			t.Errorf("ack after they are back %+v", a)
		}
	})
}

func TestTwoLoadBalancersWithOneID(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		time.Sleep(time.Second)
		if a := f.lastAck(); a.Blind || a.Error != "" {
			t.Fatalf("alone: %+v", a)
		}
		f.mu.Lock()
		f.rival = "other:1:X"
		f.mu.Unlock()
		time.Sleep(time.Minute)
		if a := f.lastAck(); !a.Blind || !strings.Contains(a.Error, "other:1:X") {
			t.Errorf("ack %+v", a)
		}
		if s, _ := l.board.read(&l.cfg); len(s.Problems) == 0 {
			t.Error("ready, though another has the id")
		}
		f.mu.Lock()
		f.rival = l.instance
		f.mu.Unlock()
		time.Sleep(l.ackTTL() / 2)
		if a := f.lastAck(); !a.Blind {
			t.Error("one ack of ours after the other's, and the id counts as ours alone")
		}
		time.Sleep(time.Minute)
		if a := f.lastAck(); a.Blind || a.Error != "" {
			t.Errorf("alone again: %+v", a)
		}
	})
}

func TestARefusedApplyIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		f.set("web1", "web2")
		time.Sleep(2 * time.Second)
		tries := 0
		e.mu.Lock()
		e.refuse = func(string) error {
			tries++
			return step.Errorf(step.Test, "mend it", "nginx -t: /etc/nginx/other.conf:3: unknown directive")
		}
		e.mu.Unlock()
		f.set("-web2")
		time.Sleep(time.Minute)
		e.want(t, "0s ", "1.1s web1,web2")
		if tries < 3 || tries > 20 {
			t.Errorf("%d tries in a minute", tries)
		}
		s, _ := l.board.read(&l.cfg)
		if s.LastApply.Step != step.Test || !strings.Contains(s.LastApply.Error, "other.conf:3") || s.Wanted == s.Running {
			t.Errorf("last apply %+v, wanted %d, running %d", s.LastApply, s.Wanted, s.Running)
		}
		if a := f.lastAck(); a.Rev == f.rev || !strings.Contains(a.Error, "other.conf") {
			t.Errorf("ack %+v at rev %d", a, f.rev)
		}
		e.mu.Lock()
		e.refuse = func(string) error { return nil }
		e.mu.Unlock()
		time.Sleep(40 * time.Second)
		synctest.Wait()
		if e.live == "" || strings.Contains(e.live, "web2") {
			t.Errorf("live: %s", e.live)
		}
		if a := f.lastAck(); a.Rev != f.rev || a.Error != "" {
			t.Errorf("ack %+v at rev %d", a, f.rev)
		}
	})
}

// While too many old generations have workers left, only what takes a server out goes in.
func TestOldGenerationsAreCapped(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		f.set("web1", "web2")
		time.Sleep(2 * time.Second)
		e.mu.Lock()
		e.former = l.cfg.Timing.MaxOldGenerations
		e.mu.Unlock()
		time.Sleep(2 * time.Second) // it is seen
		f.set("web3")
		time.Sleep(time.Minute)
		e.want(t, "0s ", "1.1s web1,web2")
		if s, _ := l.board.read(&l.cfg); !slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, "worker_shutdown_timeout") }) {
			t.Errorf("problems %q", s.Problems)
		}
		f.set("-web1")
		time.Sleep(2 * time.Second)
		e.want(t, "0s ", "1.1s web1,web2", "1m4s web2,web3")
		f.set("web4")
		e.mu.Lock()
		e.former = 0
		e.mu.Unlock()
		time.Sleep(3 * time.Second)
		if a := f.lastAck(); a.Rev != f.rev || a.Error != "" || e.serving() != "web2,web3,web4" {
			t.Errorf("ack %+v, live %s", a, e.serving())
		}
	})
}
