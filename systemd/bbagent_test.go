package systemd

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/dev/machine"
)

// agentRights: the agent runs as nobody in particular, with no right at all.
func agentRights(t *testing.T, s *site) {
	status := s.Must(t, "cat", "/proc/"+s.Show(t, "bbagent", "MainPID")+"/status")
	for _, line := range []string{"CapPrm:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"} {
		if !strings.Contains(status, line) {
			t.Errorf("no %q in\n%s", line, status)
		}
	}
	if strings.Contains(status, "Uid:\t0\t") {
		t.Error("bbagent runs as root")
	}
}

// agentEnds: the node has left before the agent is gone, so that no request meets a node that ends.
func agentEnds(t *testing.T, s *site) {
	s.underTraffic(t, func() {
		s.Must(t, "systemctl", "stop", "bbagent")
		s.serves(t, "web2")
	})
	if result := s.Show(t, "bbagent", "Result"); result != "success" {
		t.Errorf("stopped with %s\n%s", result, s.Journal("bbagent"))
	}
	s.Must(t, "systemctl", "start", "bbagent")
	s.serves(t, "web1", "web2")
}

func agentHangs(t *testing.T, s *site) {
	s.dropIn(t, "bbagent", "WatchdogSec=10s\nTimeoutAbortSec=1s")
	s.hang(t, "bbagent")
	s.dropIn(t, "bbagent", "")
	s.serves(t, "web1", "web2")
}

// agentSecret: the password of Redis reaches the agent as the page says, and nobody else.
func agentSecret(t *testing.T, s *site) {
	s.Must(t, "redis-cli", "ACL", "SETUSER", "agent", "on", ">s3cret", "~*", "&*", "+@all")
	s.Write(t, "/etc/bbagent/redis-password", "s3cret\n", 0o600)
	s.Write(t, "/etc/bbagent/bbagent.yaml", agentConfig+"redis: {username: agent, password_file: /run/credentials/bbagent.service/redis-password}\n", 0o644)
	s.dropIn(t, "bbagent", strings.TrimPrefix(examples(t, "ini")[1], "[Service]"))
	machine.Eventually(t, "the agent comes with its password", func() bool {
		return strings.Contains(s.Must(t, "redis-cli", "CLIENT", "LIST"), "user=agent")
	}, func() string { return s.Journal("bbagent") })
	s.Write(t, "/etc/bbagent/bbagent.yaml", agentConfig, 0o644)
	s.dropIn(t, "bbagent", "")
	s.serves(t, "web1", "web2")
}

// agentCompose: with the drop-in the agent is in Docker's group.
func agentCompose(t *testing.T, s *site) {
	s.Must(t, "groupadd", "--gid", "971", "docker")
	s.follow(t, "bbagent-compose.conf")
	status := s.Must(t, "cat", "/proc/"+s.Show(t, "bbagent", "MainPID")+"/status")
	groups := strings.Fields(between(status, "Groups:", "\n"))
	if !strings.Contains(fmt.Sprint(groups), "971") {
		t.Errorf("bbagent is in the groups %q", groups)
	}
	s.serves(t, "web1", "web2")
}

func between(text, before, after string) string {
	_, text, _ = strings.Cut(text, before)
	text, _, _ = strings.Cut(text, after)
	return text
}
