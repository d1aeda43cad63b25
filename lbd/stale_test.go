package lbd

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bazbeans/bazbeans/lbd/nginx"
	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/render"
	"github.com/bazbeans/bazbeans/resolvers"
)

// inventory is a kind of resolver of the test's own.
type inventory struct {
	answers resolvers.Answers
	err     error
}

func (i *inventory) Resolve(context.Context, []pool.Node) (resolvers.Answers, error) {
	return i.answers, i.err
}

// withInventory makes an LB that asks the inventory, then redis, over a pool in memory.
func withInventory(t *testing.T, state string, i resolvers.Resolver, f *fakePool) *LB {
	t.Helper()
	cfg := DefaultConfig()
	cfg.ID, cfg.StateDir, cfg.Resolvers = "lb1", state, []ResolverConfig{{Kind: "inventory"}, {Kind: "redis"}}
	l, err := New(cfg, silent, Kind{Name: "inventory", Make: func(Settings, *pool.Pool) (resolvers.Resolver, error) { return i, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.chain.Close() })
	if err := l.pool.Close(); err != nil { // the real pool: not used
		t.Fatal(err)
	}
	l.pool = f
	l.lookBack()
	return l
}

func planned(t *testing.T, l *LB) map[string]NodeStatus {
	t.Helper()
	f, err := l.look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	nodes := map[string]NodeStatus{}
	for _, n := range l.plan(f, l.templates, time.Now()).Nodes {
		nodes[n.ID] = n
	}
	return nodes
}

func ours(id string, registered string) pool.Node {
	n := pool.Node{ID: id, Agent: "1", Registered: true, Active: true, Weight: 1, Port: 8000, Expires: time.Now().Add(time.Hour)}
	if registered != "" {
		n.Address = netip.MustParseAddr(registered)
	}
	return n
}

// Status names who said each node's address, also when that is an old one, and who was refused.
func TestStatusNamesTheResolver(t *testing.T) {
	at := func(addr string) resolvers.Answer {
		return resolvers.Answer{Endpoint: resolvers.Endpoint{Addr: netip.MustParseAddr(addr)}}
	}
	i := &inventory{answers: resolvers.Answers{"a": at("10.0.0.1"), "local": at("127.0.0.1")}}
	f := &fakePool{nodes: map[string]pool.Node{"a": ours("a", "10.9.9.9"), "b": ours("b", "10.0.0.2"), "local": ours("local", "10.0.0.3"), "none": ours("none", "")}}
	l := withInventory(t, t.TempDir(), i, f)
	got := planned(t, l)
	if a := got["a"]; a.Resolver != "inventory" || a.Address != "10.0.0.1" || a.Stale || a.State != "active" {
		t.Errorf("a: %+v", a)
	}
	if b := got["b"]; b.Resolver != "redis" || b.Address != "10.0.0.2" {
		t.Errorf("b: %+v", b)
	}
	if r := got["local"]; r.Resolver != "inventory" || r.Address != "" || r.State != "faulty" || !strings.Contains(r.Why, "loopback") {
		t.Errorf("local: %+v", r)
	}
	if n := got["none"]; n.Resolver != "" || n.State != "faulty" || !strings.Contains(n.Why, "no resolver knows") {
		t.Errorf("none: %+v", n)
	}
	i.answers, i.err = nil, errors.New("time-out")
	got = planned(t, l)
	if a := got["a"]; a.Resolver != "inventory" || a.Address != "10.0.0.1" || !a.Stale || a.State != "active" || !strings.Contains(a.Why, "inventory cannot know: time-out") {
		t.Errorf("a, stale: %+v", a)
	}
}

// A resolver that fails takes nobody out, also when lbd has just been started.
func TestAddressesOutliveARestart(t *testing.T) {
	state := t.TempDir()
	i := &inventory{err: errors.New("time-out")}
	f := &fakePool{nodes: map[string]pool.Node{"a": ours("a", ""), "b": ours("b", "10.0.0.2")}}
	before := withInventory(t, state, &inventory{}, f)
	up := before.upstreams[0]
	before.running.N = 1
	before.keep(&Plan{Files: []nginx.File{{Path: up.Output}}, Sets: map[string][]render.Server{up.Name: {
		{ID: "a", Addr: netip.MustParseAddrPort("10.0.0.1:8100"), Weight: 1}, {ID: "b", Addr: netip.MustParseAddrPort("10.0.0.9:8000"), Weight: 1}}}}, true)
	before.save()
	got := planned(t, withInventory(t, state, i, f))
	if a := got["a"]; a.Address != "10.0.0.1" || a.Port != 8100 || !a.Stale || a.State != "active" {
		t.Errorf("a: %+v", a)
	}
	if b := got["b"]; b.Address != "10.0.0.2" || b.Port != 8000 || b.Stale || b.Resolver != "redis" {
		t.Errorf("b: %+v", b)
	}
	// One that says "not mine" is believed.
	i.err = nil
	if a := planned(t, withInventory(t, state, i, f))["a"]; a.Address != "" || a.State != "faulty" {
		t.Errorf("a, nobody's: %+v", a)
	}
}

// A command has one look: it waits for a resolver that learns in the background, but not for ever.
func TestCommandsWaitForWhatIsLearnt(t *testing.T) {
	state := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		slow, err := resolvers.Each(func(ctx context.Context, id string) (resolvers.Endpoint, error) {
			takes := 2 * time.Second
			if id == "never" {
				takes = time.Hour
			}
			select {
			case <-ctx.Done():
				return resolvers.Endpoint{}, ctx.Err()
			case <-time.After(takes):
				return resolvers.ParseEndpoint("10.0.0.1")
			}
		}, resolvers.CacheOptions{Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		f := &fakePool{nodes: map[string]pool.Node{"a": ours("a", "")}}
		l := withInventory(t, state, slow, f)
		defer slow.Close()
		began := time.Now()
		facts, err := l.lookPatiently(t.Context())
		if took := time.Since(began); err != nil || !facts.nodes[0].where.Found() || took > 3*time.Second {
			t.Errorf("%+v, %v after %s", facts, err, took)
		}
		f.nodes["never"] = ours("never", "")
		facts, err = l.lookPatiently(t.Context())
		if err != nil || !facts.nodes[0].where.Found() || facts.nodes[1].where.Found() {
			t.Errorf("%+v, %v", facts, err)
		}
	})
}
