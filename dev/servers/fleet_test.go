package servers_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

func TestRedisWithTLSWantsACertificate(t *testing.T) {
	certs := serverstest.Certificates(t)
	r := serverstest.RedisTLS(t, certs)
	if !strings.HasPrefix(r.URL(), "rediss://") {
		t.Errorf("url %s", r.URL())
	}
	if answer, err := r.Do("SET", "k", "two words"); err != nil || answer != "OK" {
		t.Errorf("%q, %v", answer, err)
	}
	if answer, err := r.Do("GET", "k"); err != nil || answer != "two words" {
		t.Errorf("%q, %v", answer, err)
	}
	if _, err := r.Do("LPUSH", "k", "x"); err == nil || !strings.HasPrefix(err.Error(), "WRONGTYPE") {
		t.Errorf("LPUSH: %v", err)
	}
	if err := r.Restart(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSentinelsReplaceTheirMaster(t *testing.T) {
	s := serverstest.Sentinels(t, servers.SentinelOptions{})
	first, err := s.Master()
	if err != nil || first != s.Servers[0] {
		t.Fatalf("master %v, %v", first, err)
	}
	// Two minutes: Sentinels that stood still believe nobody, themselves included, for 30 s.
	if err := errors.Join(s.DownAfter(300*time.Millisecond), first.Kill()); err != nil {
		t.Fatal(err)
	}
	serverstest.Eventually(t, 2*time.Minute, func() error {
		now, err := s.Master()
		if err == nil && now == first {
			err = errors.New("the dead one is still the master")
		}
		return err
	})
}

func TestClusterGivesASlotToAReplica(t *testing.T) {
	c := serverstest.Cluster(t, nil)
	owner, err := c.Owner("{bazbeans}:rev")
	if err != nil {
		t.Fatal(err)
	}
	replica, err := c.AddReplica(t.Context(), owner)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Addrs()) != 4 {
		t.Errorf("%v", c.Addrs())
	}
	if err := errors.Join(c.NodeTimeout(t.Context(), 500*time.Millisecond), owner.Kill()); err != nil {
		t.Fatal(err)
	}
	serverstest.Eventually(t, time.Minute, func() error {
		now, err := c.Owner("{bazbeans}:rev")
		if err == nil && now != replica {
			err = fmt.Errorf("%s has it", now.Addr())
		}
		return err
	})
}
