package pool_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

// relay passes connections on to Redis. While it is silent it takes what comes and passes nothing on: its connections
// stay open, as over a firewall that has forgotten them. When it is deaf it closes a connection instead of passing on the
// next answer.
type relay struct {
	listener     net.Listener
	to           string
	silent, deaf atomic.Bool
	wg           sync.WaitGroup
}

func startRelay(t *testing.T, to string) *relay {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, to: to}
	ctx, cancel := context.WithCancel(context.Background())
	r.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() { r.serve(ctx, conn) })
		}
	})
	t.Cleanup(func() { l.Close(); cancel(); r.wg.Wait() })
	return r
}

func (r *relay) url() string { return "redis://" + r.listener.Addr().String() }

func (r *relay) serve(ctx context.Context, in net.Conn) {
	out, err := net.Dial("tcp", r.to)
	if err != nil {
		in.Close()
		return
	}
	stop := context.AfterFunc(ctx, func() { in.Close(); out.Close() })
	defer stop()
	var both sync.WaitGroup
	pass := func(to, from net.Conn, answers bool) {
		defer to.Close()
		b := make([]byte, 64<<10)
		for {
			n, err := from.Read(b)
			if err != nil && !errors.Is(err, io.EOF) || n == 0 || answers && r.deaf.CompareAndSwap(true, false) {
				return
			}
			if !r.silent.Load() {
				if _, err := to.Write(b[:n]); err != nil {
					return
				}
			}
		}
	}
	both.Go(func() { pass(out, in, false) })
	both.Go(func() { pass(in, out, true) })
	both.Wait()
}

func TestHalfOpenConnectionIsNoticed(t *testing.T) {
	srv := serverstest.Redis(t)
	r := startRelay(t, srv.Addr())
	p, direct := connect(t, pool.Config{URL: r.url()}), open(t, srv.Addr())
	heard := listen(t, p)
	heard.wait(t, "subscribed")
	direct.register(t, "web1")
	heard.wait(t, "node_registered")

	r.silent.Store(true)
	direct.register(t, "web2") // nobody hears of it
	heard.waitDeaf(t, "no answer")
	r.silent.Store(false)
	heard.wait(t, "subscribed")
	direct.register(t, "web3")
	heard.wait(t, "node_registered")
}

// A Redis that is stopped answers nothing and breaks no connection. No call may then take longer than its context, with
// a connection at hand or without.
func TestStoppedRedisStallsNobody(t *testing.T) {
	srv := serverstest.Redis(t)
	warm, cold := connect(t, pool.Config{URL: srv.URL()}), connect(t, pool.Config{URL: srv.URL()})
	m, _, err := warm.Register(t.Context(), registration("web1"), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Pause(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Resume() })
	calls := map[string]func(ctx context.Context, p *pool.Pool) error{
		"ping":     func(ctx context.Context, p *pool.Pool) error { return p.Ping(ctx) },
		"snapshot": func(ctx context.Context, p *pool.Pool) error { _, err := p.Snapshot(ctx); return err },
		"node":     func(ctx context.Context, p *pool.Pool) error { _, err := p.Node(ctx, "web1"); return err },
		"node_ips": func(ctx context.Context, p *pool.Pool) error { _, err := p.NodeIPs(ctx, []string{"web1"}); return err },
		"ack": func(ctx context.Context, p *pool.Pool) error {
			_, err := p.WriteAck(ctx, pool.Ack{ID: "lb1"}, time.Minute)
			return err
		},
		"lbs":       func(ctx context.Context, p *pool.Pool) error { _, err := p.LBs(ctx); return err },
		"freeze":    func(ctx context.Context, p *pool.Pool) error { _, err := p.Freeze(ctx, "web1", "ann", ""); return err },
		"heartbeat": func(ctx context.Context, _ *pool.Pool) error { _, err := m.Heartbeat(ctx, pool.Metrics{}); return err },
		"next": func(ctx context.Context, p *pool.Pool) error {
			_, _, err := p.Next(ctx, "web1", time.Second)
			return err
		},
		"events": func(ctx context.Context, p *pool.Pool) error { _, err := p.Events(ctx, "", 1); return err },
		"wait":   func(ctx context.Context, p *pool.Pool) error { return p.WaitServed(ctx, 1, nil, nil) },
	}
	const limit, slack = 200 * time.Millisecond, 2500 * time.Millisecond // one that heeds no context ends with its read, after 3 s
	var all sync.WaitGroup
	for name, call := range calls {
		for which, p := range map[string]*pool.Pool{"warm": warm, "cold": cold} {
			all.Go(func() {
				inTime(t, name+", "+which, limit+slack, func() {
					ctx, cancel := context.WithTimeout(t.Context(), limit)
					defer cancel()
					if err := call(ctx, p); err == nil {
						t.Errorf("%s, %s: a stopped Redis answered", name, which)
					}
				})
			})
		}
	}
	all.Wait()
	// Also when the context has no end of its own, and is canceled.
	for _, name := range []string{"snapshot", "node", "freeze", "heartbeat"} {
		inTime(t, name+", canceled", limit+slack, func() {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(limit, cancel)
			if err := calls[name](ctx, warm); !errors.Is(err, context.Canceled) {
				t.Errorf("%s, canceled: %v", name, err)
			}
		})
	}
	// And when nobody set a limit: a few reads at most.
	began := time.Now()
	if err := warm.Ping(t.Context()); err == nil || !contains(err.Error(), "no answer in time") || time.Since(began) > 20*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	if err := srv.Resume(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Heartbeat(t.Context(), pool.Metrics{}); err != nil {
		t.Errorf("after it went on: %v", err)
	}
}

// inTime makes a call that takes longer only when the machine stands still: not three times in a row.
func inTime(t *testing.T, name string, most time.Duration, call func()) {
	t.Helper()
	var took time.Duration
	for range 3 {
		began := time.Now()
		call()
		if took = time.Since(began); took <= most {
			return
		}
	}
	t.Errorf("%s: it took %v", name, took)
}

// A freeze whose answer was lost is not sent again: the second answer would say "was frozen already".
func TestAFreezeIsSentOnce(t *testing.T) {
	srv := serverstest.Redis(t)
	r := startRelay(t, srv.Addr())
	w := open(t, srv.Addr())
	w.register(t, "web1")
	p := connect(t, pool.Config{URL: r.url()})
	if err := p.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func() (pool.Change, error){
		"freeze":   func() (pool.Change, error) { return p.Freeze(t.Context(), "web1", "ann", "") },
		"unfreeze": func() (pool.Change, error) { return p.Unfreeze(t.Context(), "web1", "ann") },
		"forget":   func() (pool.Change, error) { return p.Forget(t.Context(), "web2", "ann") },
	} {
		w.register(t, "web2")
		if err := p.Ping(t.Context()); err != nil { // there is a connection, so the next answer is that of the call
			t.Fatal(err)
		}
		before := calls(t, w)
		r.deaf.Store(true)
		_, err := call()
		if err == nil || !contains(err.Error(), name+" may have been done, the answer is missing") {
			t.Errorf("%s: %v", name, err)
		}
		if n := calls(t, w) - before; n > 1 {
			t.Errorf("%s was sent %d times", name, n)
		}
	}
	// What comes to the same when it is done twice is sent again.
	if err := p.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.deaf.Store(true)
	if _, _, err := p.Register(t.Context(), registration("web1"), ""); err != nil {
		t.Error(err)
	}
}

// A command whose answer was lost is in hand: the one behind it must not be taken in its place.
func TestCommandsStayInOrderWhenAnAnswerIsLost(t *testing.T) {
	srv := serverstest.Redis(t)
	r := startRelay(t, srv.Addr())
	w := open(t, srv.Addr())
	w.register(t, "web1")
	w.send(t, "stop", nil)
	w.send(t, "start", nil)
	p := connect(t, pool.Config{URL: r.url()})
	if err := p.Ping(t.Context()); err != nil { // there is a connection, so the next answer is that of the call
		t.Fatal(err)
	}
	r.deaf.Store(true)
	if got, ok, err := p.Next(t.Context(), "web1", time.Second); err == nil {
		t.Errorf("took %q, %t", got.Type, ok)
	}
	hand, _, err := p.InHand(t.Context(), "web1", 10)
	if err != nil || len(hand) != 1 || hand[0].Type != "stop" {
		t.Errorf("in hand: %+v, %v", hand, err)
	}
	if got, ok, err := p.Next(t.Context(), "web1", 5*time.Second); err != nil || !ok || got.Type != "start" {
		t.Errorf("then took %q, %t, %v", got.Type, ok, err)
	}
	// Its own time for the answer counts, not that of any read.
	if got, ok, err := p.Next(t.Context(), "web1", 4*time.Second); err != nil || ok {
		t.Errorf("took %q, %t, %v", got.Type, ok, err)
	}
}

// calls is how many scripts Redis was asked to run.
func calls(t *testing.T, w world) (n int) {
	t.Helper()
	info := w.rdb.InfoMap(t.Context(), "commandstats").Val()["Commandstats"]
	for _, name := range []string{"cmdstat_evalsha", "cmdstat_eval"} {
		n += leading(info[name], "calls=")
	}
	return n
}

// leading reads the number behind a prefix.
func leading(s, prefix string) (n int) {
	_, _ = fmt.Sscanf(s, prefix+"%d", &n) // 0 when there is none
	return n
}
