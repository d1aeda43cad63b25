package pool_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

func TestSentinel(t *testing.T) {
	s := serverstest.Sentinels(t, servers.SentinelOptions{})
	cfg := pool.Config{Sentinel: pool.Sentinel{Master: servers.SentinelMaster, Addrs: s.Addrs()}}
	castOf(t, cfg).life(t)
	// A busy machine is no fault of Redis: until it is to fail nobody replaces it, nor the new one once it is master.
	soon, patient := 300*time.Millisecond, time.Minute
	overFailover(t, cfg, "after the master is killed", s.Servers[0], func() error {
		return errors.Join(s.DownAfter(soon), s.Servers[0].Kill())
	})
	if err := s.DownAfter(patient); err != nil {
		t.Fatal(err)
	}
	// The old master is back, as a replica; now the new one is stopped, and breaks no connection.
	if err := s.Servers[0].Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Servers[0].Do("REPLICAOF", "127.0.0.1", strconv.Itoa(s.Servers[1].Port())); err != nil { // the Sentinels wait 8 s
		t.Fatal(err)
	}
	serverstest.Eventually(t, time.Minute, func() error { return replica(s.Servers[0]) })
	overFailover(t, cfg, "after the master is stopped", s.Servers[1], func() error {
		return errors.Join(s.DownAfter(soon), s.Servers[1].Pause())
	})
}

// replica returns nil when r follows a master and has its data.
func replica(r *servers.Redis) error {
	info, err := r.Do("INFO", "replication")
	if err == nil && !contains(info, "role:slave", "master_link_status:up") {
		err = errors.New(info)
	}
	return err
}

// replicated returns nil when the master's one replica has all that the master has.
func replicated(master *servers.Redis) error {
	info, err := master.Do("INFO", "replication")
	if err != nil {
		return err
	}
	_, at, _ := strings.Cut(info, "master_repl_offset:")
	at, _, _ = strings.Cut(at, "\r\n")
	if !contains(info, "offset="+at+",") {
		return errors.New(info)
	}
	return nil
}

func TestSentinelThatKnowsNoSuchMaster(t *testing.T) {
	s := serverstest.Sentinels(t, servers.SentinelOptions{})
	p := connect(t, pool.Config{Sentinel: pool.Sentinel{Master: "other", Addrs: s.Addrs()}})
	// It must not look like an empty pool, or like an empty queue.
	if snap, err := p.Snapshot(t.Context()); err == nil || !contains(err.Error(), "sentinel.master", "other") {
		t.Errorf("snapshot %+v, %v", snap, err)
	}
	if _, _, err := p.Next(t.Context(), "web3", time.Second); err == nil || !contains(err.Error(), "sentinel.master") {
		t.Errorf("next: %v", err)
	}
	if _, err := p.Events(t.Context(), "", 1); err == nil {
		t.Error("events: no error")
	}
	if lbs, err := p.LBs(t.Context()); err == nil {
		t.Errorf("load balancers: %v", lbs)
	}
}

func TestSentinelWithPasswords(t *testing.T) {
	s := serverstest.Sentinels(t, servers.SentinelOptions{
		Sentinels:    1,
		Args:         []string{"--requirepass", "data-secret", "--masterauth", "data-secret"},
		SentinelConf: []string{"sentinel auth-pass " + servers.SentinelMaster + " data-secret", "user ops on >watch-secret ~* &* +@all"},
	})
	cfg := pool.Config{PasswordFile: secretFile(t, "data-secret"),
		Sentinel: pool.Sentinel{Master: servers.SentinelMaster, Addrs: s.Addrs(), Username: "ops", PasswordFile: secretFile(t, "watch-secret")}}
	castOf(t, cfg).life(t)
	for name, cfg := range map[string]pool.Config{
		"password of the master":   {PasswordFile: secretFile(t, "wrong-secret"), Sentinel: cfg.Sentinel},
		"password of the sentinel": {PasswordFile: cfg.PasswordFile, Sentinel: pool.Sentinel{Master: servers.SentinelMaster, Addrs: s.Addrs(), Username: "ops", PasswordFile: secretFile(t, "wrong-secret")}},
	} {
		err := opened(t, cfg)
		if err == nil || !contains(err.Error(), "password") || contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSentinelWithTLS(t *testing.T) {
	certs := serverstest.Certificates(t)
	s := serverstest.Sentinels(t, servers.SentinelOptions{Sentinels: 1, TLS: certs})
	tls := pool.TLS{CA: certs.CA, Cert: certs.ClientCert, Key: certs.ClientKey}
	for _, url := range []string{"", "rediss://elsewhere.example"} { // the url's host is nobody's
		castOf(t, pool.Config{URL: url, TLS: tls, Sentinel: pool.Sentinel{Master: servers.SentinelMaster, Addrs: s.Addrs()}}).life(t)
	}
}

func TestCluster(t *testing.T) {
	c := serverstest.Cluster(t, nil)
	cfg := pool.Config{KeyPrefix: "{bazbeans}", Cluster: pool.Cluster{Addrs: c.Addrs()[:2]}}
	castOf(t, cfg).life(t)
	owner, err := c.Owner("{bazbeans}:rev")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.AddReplica(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	overFailover(t, cfg, "after the slot's master is killed", owner, func() error {
		return errors.Join(c.NodeTimeout(t.Context(), 500*time.Millisecond), owner.Kill())
	})
}

func TestClusterWithTLS(t *testing.T) {
	certs := serverstest.Certificates(t)
	c := serverstest.Cluster(t, certs)
	cfg := pool.Config{URL: "rediss://elsewhere.example", KeyPrefix: "prod{bazbeans}", Cluster: pool.Cluster{Addrs: c.Addrs()},
		TLS: pool.TLS{CA: certs.CA, Cert: certs.ClientCert, Key: certs.ClientKey}}
	castOf(t, cfg).life(t)
}

// overFailover has a node registered and a Watch running while fail takes the master away. Nothing of it is lost, and
// whoever listens is told once that he may have missed something.
func overFailover(t *testing.T, cfg pool.Config, name string, master *servers.Redis, fail func() error) {
	t.Helper()
	p, lbd := connect(t, cfg), connect(t, cfg)
	m, _, err := p.Register(t.Context(), registration("web3"), "")
	if err != nil {
		t.Fatal(err)
	}
	freeze, err := p.Freeze(t.Context(), "web3", "ann", "swap")
	if err != nil {
		t.Fatal(err)
	}
	heard := listen(t, lbd)
	heard.wait(t, "subscribed")
	serverstest.Eventually(t, time.Minute, func() error { return replicated(master) })
	began := time.Now()
	if err := fail(); err != nil {
		t.Fatal(err)
	}
	// An agent and lbd call again and again, each call with an end. Sentinels that stood still believe nobody for 30 s.
	serverstest.Eventually(t, 2*time.Minute, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		st, err := m.Heartbeat(ctx, pool.Metrics{})
		if err == nil && st.Freeze == nil {
			err = fmt.Errorf("the freeze is lost: %+v", st)
		}
		return err
	})
	t.Logf("%s: heartbeats again after %v", name, time.Since(began).Round(10*time.Millisecond))
	heard.wait(t, "subscribed")
	t.Logf("%s: events again after %v", name, time.Since(began).Round(10*time.Millisecond))
	serverstest.Eventually(t, time.Minute, func() error {
		s, err := lbd.Snapshot(t.Context())
		if err == nil && (len(s.Nodes) != 1 || s.Nodes[0].State() != pool.Frozen || s.Rev < freeze.Rev) {
			err = fmt.Errorf("%+v", s)
		}
		return err
	})
	if u, err := p.Unfreeze(t.Context(), "web3", "ann"); err != nil || !u.Changed {
		t.Errorf("%s: unfreeze %+v, %v", name, u, err)
	}
	heard.wait(t, "node_unfrozen")
	if _, err := p.Forget(t.Context(), "web3", "ann"); err != nil {
		t.Error(err)
	}
}
