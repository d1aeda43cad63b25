package systemd

import (
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/dev/machine"
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
		if said := s.Must(t, "systemd-analyze", "verify", unit); said != "" {
			t.Error(said)
		}
	}
}

func freeze(t *testing.T, s *site) {
	s.underTraffic(t, func() {
		s.Must(t, "bbctl", "freeze", "web2", "--wait", "--reason", "test")
		s.serves(t, "web1")
		s.Must(t, "bbctl", "unfreeze", "web2")
		s.serves(t, "web1", "web2")
	})
	s.ready(t)
	if status := s.Show(t, "lbd", "StatusText"); !strings.Contains(status, "generation") {
		t.Errorf("systemctl status says %q", status)
	}
}

func reload(t *testing.T, s *site) {
	pid := s.Show(t, "lbd", "MainPID")
	s.underTraffic(t, func() { s.Must(t, "systemctl", "reload", "lbd") })
	s.ready(t)
	if state := s.Show(t, "lbd", "ActiveState"); state != "active" || s.Show(t, "lbd", "MainPID") != pid {
		t.Errorf("after a reload lbd is %s\n%s", state, s.Journal("lbd"))
	}
}

func watchdog(t *testing.T, s *site) {
	s.dropIn(t, "lbd", "WatchdogSec=10s\nTimeoutAbortSec=1s")
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
	pid := s.Show(t, unit, "MainPID")
	s.Must(t, "kill", "-STOP", pid)
	machine.Eventually(t, "systemd starts "+unit+" again", func() bool {
		now := s.Show(t, unit, "MainPID")
		return now != pid && now != "0"
	}, func() string { return s.Journal(unit) })
	said := func() string { return s.Journal(unit, "--identifier=systemd") }
	machine.Eventually(t, "the journal says that it was the watchdog", func() bool { return strings.Contains(said(), "Watchdog timeout") }, said)
}

// restartNginx has Nginx remove its pid file and make another: lbd must see the new one, and nginx -t open it.
func restartNginx(t *testing.T, s *site) {
	s.Must(t, "systemctl", "restart", "nginx")
	s.ready(t)
	s.Must(t, "bbctl", "freeze", "web2", "--wait")
	s.serves(t, "web1")
	s.Must(t, "bbctl", "unfreeze", "web2")
	s.serves(t, "web1", "web2")
	s.ready(t)
}

func end(t *testing.T, s *site) {
	nginx := s.Show(t, "nginx", "MainPID")
	s.underTraffic(t, func() {
		if group := s.Must(t, "cat", "/sys/fs/cgroup/system.slice/lbd.service/cgroup.procs"); strings.Contains(group, nginx) {
			t.Errorf("nginx %s is in lbd's control group %q", nginx, group)
		}
		s.Must(t, "systemctl", "stop", "lbd")
		if result := s.Show(t, "lbd", "Result"); result != "success" {
			t.Errorf("stopped with %s\n%s", result, s.Journal("lbd"))
		}
		s.serves(t, "web1", "web2")
	})
	if s.Show(t, "nginx", "MainPID") != nginx {
		t.Error("nginx is another one")
	}
	s.Must(t, "systemctl", "start", "lbd")
	s.ready(t)
}

func withoutRedis(t *testing.T, s *site) {
	s.Must(t, "systemctl", "stop", "redis-server")
	s.underTraffic(t, func() {
		s.Must(t, "systemctl", "restart", "lbd")
		if state := s.Show(t, "lbd", "ActiveState"); state != "active" {
			t.Errorf("lbd is %s", state)
		}
	})
	s.Must(t, "systemctl", "start", "redis-server")
	s.ready(t)
}
