package lbd

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

// A flush is noticed though an agent has registered again before lbd looks, and with it raised the revision: a node whose
// agent beats later is not taken out meanwhile.
func TestGraceAfterAFlushThatAnAgentWasQuickerToMend(t *testing.T) {
	const ttl = 5 * time.Second
	server := serverstest.Redis(t)
	agents, err := pool.Open(pool.Config{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer agents.Close()
	nodes := map[string]*pool.Member{}
	beat := func(id string) int64 {
		t.Helper()
		st, err := nodes[id].Heartbeat(t.Context(), pool.Metrics{})
		if err != nil {
			t.Fatal(err)
		}
		return st.Rev
	}
	for i, id := range []string{"web1", "web2", "web3"} {
		m, _, err := agents.Register(t.Context(), pool.Registration{ID: id, Agent: "1", TTL: ttl, Port: 8000, Weight: 1,
			Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})}, "")
		if err != nil {
			t.Fatal(err)
		}
		nodes[id] = m
	}
	if _, err := agents.Freeze(t.Context(), "web1", "ann", "swap"); err != nil {
		t.Fatal(err)
	}

	cfg := DefaultConfig()
	cfg.ID, cfg.StateDir, cfg.Status.Listen, cfg.AllowNetworks = "lb1", t.TempDir(), "", []string{"10.0.0.0/8"}
	cfg.Redis.URL, cfg.Timing.Resync = server.URL(), time.Minute
	cfg.Upstreams = []UpstreamConfig{defaultUpstream()}
	cfg.Upstreams[0].Output = filepath.Join(cfg.StateDir, "up.conf")
	l, err := New(cfg, silent)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	e := &fakeEngine{start: time.Now(), refuse: func(string) error { return nil }}
	l.engine, l.own.configured = e, func(context.Context) ([]netip.AddrPort, error) { return nil, nil }
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- l.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	// wantAck waits until lbd has said that it serves rev, and what it keeps against the pool's word.
	wantAck := func(rev int64, held ...string) {
		t.Helper()
		serverstest.Eventually(t, time.Minute, func() error {
			lbs, err := agents.LBs(t.Context())
			if err == nil && (len(lbs) != 1 || lbs[0].Rev < rev || !slices.Equal(lbs[0].Held, held)) {
				err = fmt.Errorf("acks %+v, want rev %d, held %q", lbs, rev, held)
			}
			return err
		})
	}
	wantAck(beat("web3"))
	for began := time.Now(); time.Since(began) < ttl+time.Second; time.Sleep(ttl / 20) { // the grace after a start is over
		beat("web2")
		beat("web3")
	}

	if _, err := server.Do("FLUSHALL"); err != nil {
		t.Fatal(err)
	}
	wantAck(beat("web3"), "web2")
	wantAck(beat("web2"))
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.applied) != 1 || serversIn(e.live) != "web2,web3" {
		t.Errorf("applied %q", e.applied)
	}
}
