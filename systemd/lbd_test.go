package systemd

import (
	"strings"
	"testing"
)

func TestInDebian(t *testing.T) {
	if !*boot {
		t.Skip("boots a machine: make test-systemd")
	}
	s := newSite(t)
	for _, c := range []struct {
		name string
		test func(*testing.T, *site)
	}{
		{"the units are well formed", verify},
		{"exposure", exposure},
		{"a freeze is applied and proven", freeze},
		{"SIGHUP", reload},
		{"a hung lbd is started again", watchdog},
		{"nginx is started anew", restartNginx},
		{"lbd ends", end},
		{"lbd starts without redis", withoutRedis},
		{"prometheus and the dashboard", prometheus},
		{"the agent has no rights", agentRights},
		{"the agent ends", agentEnds},
		{"a hung agent is started again", agentHangs},
		{"the agent's password", agentSecret},
		{"the agent may use docker", agentCompose},
		{"each right is needed", needs},
		{"other sites", otherSites},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, s) })
	}
}

func verify(t *testing.T, s *site) {
	for _, unit := range []string{"lbd.service", "bbagent.service"} {
		if said := s.must(t, "systemd-analyze", "verify", unit); said != "" {
			t.Error(said)
		}
	}
}

func freeze(t *testing.T, s *site) {
	s.underTraffic(t, func() {
		s.must(t, "bbctl", "freeze", "web2", "--wait", "--reason", "test")
		s.serves(t, "web1")
		s.must(t, "bbctl", "unfreeze", "web2")
		s.serves(t, "web1", "web2")
	})
	s.ready(t)
	if status := s.show(t, "lbd", "StatusText"); !strings.Contains(status, "generation") {
		t.Errorf("systemctl status says %q", status)
	}
}

func reload(t *testing.T, s *site) {
	pid := s.show(t, "lbd", "MainPID")
	s.underTraffic(t, func() { s.must(t, "systemctl", "reload", "lbd") })
	s.ready(t)
	if state := s.show(t, "lbd", "ActiveState"); state != "active" || s.show(t, "lbd", "MainPID") != pid {
		t.Errorf("after a reload lbd is %s\n%s", state, s.journal("lbd"))
	}
}

func watchdog(t *testing.T, s *site) {
	s.dropIn(t, "lbd", "WatchdogSec=2s\nTimeoutAbortSec=1s")
	defer s.dropIn(t, "lbd", "")
	s.ready(t)
	s.underTraffic(t, func() {
		s.hang(t, "lbd")
		s.ready(t)
	})
}

// hang stops a daemon without ending it, until systemd starts it again: only a ping that doesn't come tells it.
func (s *site) hang(t *testing.T, unit string) {
	t.Helper()
	pid := s.show(t, unit, "MainPID")
	s.must(t, "kill", "-STOP", pid)
	eventually(t, "systemd starts "+unit+" again", func() bool {
		now := s.show(t, unit, "MainPID")
		return now != pid && now != "0"
	}, func() string { return s.journal(unit) })
	if said := s.journal(unit, "--identifier=systemd"); !strings.Contains(said, "Watchdog timeout") {
		t.Errorf("it was not the watchdog\n%s", said)
	}
}

// restartNginx has Nginx remove its pid file and make another: lbd must see the new one, and nginx -t open it.
func restartNginx(t *testing.T, s *site) {
	s.must(t, "systemctl", "restart", "nginx")
	s.ready(t)
	s.must(t, "bbctl", "freeze", "web2", "--wait")
	s.serves(t, "web1")
	s.must(t, "bbctl", "unfreeze", "web2")
	s.serves(t, "web1", "web2")
	s.ready(t)
}

func end(t *testing.T, s *site) {
	nginx := s.show(t, "nginx", "MainPID")
	s.underTraffic(t, func() {
		if group := s.must(t, "cat", "/sys/fs/cgroup/system.slice/lbd.service/cgroup.procs"); strings.Contains(group, nginx) {
			t.Errorf("nginx %s is in lbd's control group %q", nginx, group)
		}
		s.must(t, "systemctl", "stop", "lbd")
		if result := s.show(t, "lbd", "Result"); result != "success" {
			t.Errorf("stopped with %s\n%s", result, s.journal("lbd"))
		}
		s.serves(t, "web1", "web2")
	})
	if s.show(t, "nginx", "MainPID") != nginx {
		t.Error("nginx is another one")
	}
	s.must(t, "systemctl", "start", "lbd")
	s.ready(t)
}

func withoutRedis(t *testing.T, s *site) {
	s.must(t, "systemctl", "stop", "redis-server")
	s.underTraffic(t, func() {
		s.must(t, "systemctl", "restart", "lbd")
		if state := s.show(t, "lbd", "ActiveState"); state != "active" {
			t.Errorf("lbd is %s", state)
		}
	})
	s.must(t, "systemctl", "start", "redis-server")
	s.ready(t)
}
