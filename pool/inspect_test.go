package pool_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

func inspect(t *testing.T, cfg pool.Config) *pool.Server {
	t.Helper()
	p := connect(t, cfg)
	for end := time.Now().Add(time.Minute); ; {
		s, err := p.Inspect(t.Context(), "lb1")
		if err != nil {
			t.Fatal(err)
		}
		if s.Skew.Abs() <= time.Second || time.Now().After(end) { // one clock, but the machine may stand still between two looks
			return s
		}
	}
}

// What every server of these tests is.
func checkWell(t *testing.T, s *pool.Server) {
	t.Helper()
	if s.Version == "" || s.Ping <= 0 || s.Skew.Abs() > time.Second || s.User != "default" || s.Replica || s.Failing != "" || s.Used == 0 || s.Policy == "" ||
		s.Deaf != nil || s.Lacks != nil || s.Unknown != nil || !slices.Contains(s.Excess, "FLUSHALL") || !s.Knows("memory") {
		t.Errorf("%+v", s)
	}
}

func TestInspect(t *testing.T) {
	srv := serverstest.Redis(t)
	s := inspect(t, pool.Config{URL: srv.URL()})
	checkWell(t, s)
	if s.AOF || s.Save != "" || s.Max != 0 || s.Channel != "bazbeans:lb_events" {
		t.Errorf("%+v", s)
	}
	other := serverstest.Redis(t, "--appendonly", "yes", "--maxmemory", "50mb", "--maxmemory-policy", "volatile-ttl", "--replicaof", strings.ReplaceAll(srv.Addr(), ":", " "))
	s = inspect(t, pool.Config{URL: other.URL()})
	if !s.AOF || s.Max != 50<<20 || s.Policy != "volatile-ttl" || !s.Replica {
		t.Errorf("%+v", s)
	}
	if err := srv.Stop(); err != nil {
		t.Fatal(err)
	}
	if s, err := connect(t, pool.Config{URL: srv.URL()}).Inspect(t.Context(), "lb1"); err == nil {
		t.Errorf("a stopped server: %+v", s)
	}
}

// A failing disk is told, whatever the reason.
func TestInspectOfAFailingDisk(t *testing.T) {
	srv := serverstest.Redis(t, "--enable-protected-configs", "yes")
	if _, err := srv.Do("CONFIG", "SET", "dir", "/proc"); err != nil {
		t.Fatal(err)
	}
	if _, err := srv.Do("BGSAVE"); err != nil {
		t.Fatal(err)
	}
	serverstest.Eventually(t, time.Minute, func() error {
		if s := inspect(t, pool.Config{URL: srv.URL()}); s.Failing == "" {
			return errors.New("redis says that all is well")
		}
		return nil
	})
}

func TestInspectBehindSentinelsAndInACluster(t *testing.T) {
	s := serverstest.Sentinels(t, servers.SentinelOptions{})
	checkWell(t, inspect(t, pool.Config{Sentinel: pool.Sentinel{Master: servers.SentinelMaster, Addrs: s.Addrs()}}))
	c := serverstest.Cluster(t, nil)
	cfg := pool.Config{KeyPrefix: "{bazbeans}", Cluster: pool.Cluster{Addrs: c.Addrs()}}
	checkWell(t, inspect(t, cfg))
	if rights := pool.LBRights(cfg); !slices.Contains(rights, "+cluster|slots") || !slices.Contains(rights, "(~{bazbeans}:lb:* +hget +hset +pexpire +set)") || !slices.Contains(rights, "&{bazbeans}:lb_events") {
		t.Errorf("%v", rights)
	}
}
