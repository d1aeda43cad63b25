package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/pool"
)

// No engine runs here (that is tested with containers): programs named docker and systemctl write down how they were
// called.
const (
	record      = `echo "$(basename "$0") $*" >> "$(dirname "$0")/calls"; echo "did $*"`
	plainDocker = `if [ "$1" = compose ]; then echo "docker: 'compose' is not a docker command." >&2; exit 1; fi; exit 0`
)

// calls returns how the programs of a folder were called, but for questions of their version.
func calls(t *testing.T, dir string) string {
	t.Helper()
	file := filepath.Join(dir, "calls")
	b, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(b)) {
		if !strings.HasSuffix(line, " version\n") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "; ")
}

func TestCompose(t *testing.T) {
	app := t.TempDir()
	file := filepath.Join(app, "docker-compose.yml")
	if err := os.WriteFile(file, []byte("services: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, func(c *Config) { c.AppDir = app })
	for _, c := range []struct {
		programs map[string]string
		called   string
	}{
		{map[string]string{"docker": record}, "docker compose --file " + file},
		{map[string]string{"docker": plainDocker, "docker-compose": record}, "docker-compose --file " + file},
		{map[string]string{"docker-compose": record}, "docker-compose --file " + file},
	} {
		dir := programs(t, s, c.programs)
		s.agent.path = []string{dir, "/usr/bin", "/bin"}
		for kind, want := range map[string]string{
			"start": " up --detach", "stop": " stop", "restart": " restart", "pull": " pull", "status": " ps",
			"logs":   " logs --no-color --tail 100",
			"update": " pull; " + c.called + " up --detach --remove-orphans",
		} {
			if got := carriedOut(t, s, pool.Command{Type: kind}); !strings.HasPrefix(got, "succeeded code=0 out=did ") {
				t.Errorf("%s: %s", kind, got)
			}
			if got := calls(t, dir); got != c.called+want {
				t.Errorf("%s called %s, want %s", kind, got, c.called+want)
			}
		}
		if carriedOut(t, s, command(t, "logs", `{"lines":5}`)); !strings.HasSuffix(calls(t, dir), "--tail 5") {
			t.Error("logs does not show as many lines as were asked for")
		}
		if got := carriedOut(t, s, command(t, "logs", `{"lines":"5; reboot"}`)); !strings.HasPrefix(got, `refused: lines "5; reboot"`) {
			t.Error(got)
		}
	}
	// An update whose pull fails starts nothing.
	dir := programs(t, s, map[string]string{"docker": record + `; case "$*" in *pull*) echo no route >&2; exit 18;; esac`})
	if got := carriedOut(t, s, pool.Command{Type: "update"}); !strings.HasPrefix(got, "failed: docker compose --file "+file+" pull: exit code 18 code=18") {
		t.Error(got)
	}
	if got := calls(t, dir); !strings.HasSuffix(got, " pull") {
		t.Errorf("called %s", got)
	}
	s.agent.path = []string{t.TempDir()}
	if got := carriedOut(t, s, pool.Command{Type: "start"}); !strings.HasPrefix(got, "refused: this node has neither docker compose nor docker-compose: ") {
		t.Error(got)
	}
}

func TestService(t *testing.T) {
	app, other := t.TempDir(), t.TempDir()
	s := newSite(t, func(c *Config) { c.AppDir = app })
	dir := programs(t, s, map[string]string{"docker": record, "systemctl": record, "journalctl": record})
	if got := carriedOut(t, s, pool.Command{Type: "start"}); !strings.HasPrefix(got, "refused: this node has no service: there is no "+app+"/docker-compose.yml (set service: ") {
		t.Error(got)
	}
	if err := os.WriteFile(filepath.Join(other, "c.yml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := s.agent.cfg
	reload := func(set Service) {
		t.Helper()
		set.Timeout = cfg.Service.Timeout
		next := cfg
		next.Service = set
		if restart, err := s.agent.Reload(next); err != nil || len(restart) > 0 {
			t.Fatal(restart, err)
		}
	}
	reload(Service{Compose: &ComposeService{File: "c.yml", Dir: other}})
	carriedOut(t, s, pool.Command{Type: "stop"})
	if got := calls(t, dir); got != "docker compose --file "+other+"/c.yml stop" {
		t.Errorf("called %s", got)
	}
	reload(Service{Systemd: &SystemdService{Unit: "app.service"}})
	for kind, want := range map[string]string{
		"start": "systemctl start -- app.service", "stop": "systemctl stop -- app.service", "restart": "systemctl restart -- app.service",
		"update": "systemctl restart -- app.service", "status": "systemctl status --no-pager --lines=10 -- app.service",
		"logs": "journalctl --no-pager --lines=100 --unit=app.service",
	} {
		if got := carriedOut(t, s, pool.Command{Type: kind}); !strings.HasPrefix(got, "succeeded code=0 out=did ") {
			t.Errorf("%s: %s", kind, got)
		}
		if got := calls(t, dir); got != want {
			t.Errorf("%s called %s, want %s", kind, got, want)
		}
	}
	if got := carriedOut(t, s, pool.Command{Type: "pull"}); got != "refused: systemd (app.service) does not know pull" {
		t.Error(got)
	}
}
