package nginxtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// updateProgram is what the agents run as `update`: it asks for a new application and waits for it, or fails.
const updateProgram = `#!/bin/sh
node=$(sed 's/.*"node":"\([^"]*\)".*/\1/')
if [ -e DIR/fail.$node ]; then echo "no such image" >&2; exit 3; fi
echo x >> DIR/asked.$node
until [ -e DIR/done.$node ]; do sleep 0.05; done
echo '{"version": 2}'
`

// updateSite is a site whose nodes can be updated by whoever has the key.
type updateSite struct {
	*site
	key string
}

// newUpdateSite starts nodes whose agents trust one key, look after their application, and have an `update`.
func newUpdateSite(t *testing.T, ids ...string) *updateSite {
	t.Helper()
	s := &updateSite{site: newSite(t, options{config: "timing: {min_interval: 100ms}\n"})}
	key, public := s.operatorsKey()
	s.key = key
	programs := s.programs(map[string]string{"update": strings.ReplaceAll(updateProgram, "DIR", s.dir)})
	for _, id := range ids {
		file := filepath.Join(s.dir, id+".yaml")
		n := s.application(id, servers.Loopback(serverstest.Ports(t, 1)[0])) // it comes back there; no client's connection has it meanwhile
		write(t, file, fmt.Sprintf("trusted_keys: [%q]\ncommands_dir: %q\nchecks: [{name: app, http: {url: 'http://%s/health'}, interval: 5s}]\n", public, programs, n.app.Addr()))
		s.agentOf(n, "--config", file)
	}
	s.wantServers(ids...)
	s.balancer.wantAck()
	return s
}

func (s *updateSite) file(name, node string) string { return filepath.Join(s.dir, name+"."+node) }

func (s *updateSite) exists(name, node string) bool {
	_, err := os.Stat(s.file(name, node))
	return err == nil
}

// deploy replaces the applications of nodes whose agent asks for it: the old one ends, the new one comes a moment later.
// Nobody may be sent there meanwhile.
func (s *updateSite) deploy() {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
			for id, n := range s.nodes {
				if s.exists("asked", id) && !s.exists("done", id) {
					s.replace(n)
				}
			}
		}
	})
	s.t.Cleanup(func() {
		close(stop)
		wg.Wait()
	})
}

func (s *updateSite) replace(n *node) {
	asked, err := os.Stat(s.file("asked", n.id))
	if err != nil {
		s.t.Error(err)
		return
	}
	if late := n.app.Starts(asked.ModTime()); len(late) > 0 {
		s.t.Errorf("%d requests began at %s while it was updated", len(late), n.id)
	}
	if err := n.app.Close(); err != nil {
		s.t.Error(err)
	}
	// As with most ways to start one, the command is over before the application serves.
	if err := os.WriteFile(s.file("done", n.id), nil, 0o600); err != nil {
		s.t.Error(err)
	}
	time.Sleep(500 * time.Millisecond)
	app, err := load.Listen(n.app.Addr(), n.id)
	if err != nil {
		s.t.Error(err)
		return
	}
	s.t.Cleanup(app.Kill)
	n.app = app
}

// A rolling update of six nodes under load. One of them fails: it stays out, the rest is not tried. Then it is mended,
// and the run goes on. No request fails, no node is back before its application, and none is updated twice.
func TestRollingUpdate(t *testing.T) {
	t.Parallel()
	ids := []string{"web1", "web2", "web3", "web4", "web5", "web6"}
	s := newUpdateSite(t, ids...)
	write(t, s.file("fail", "web3"), "")
	s.deploy()
	traffic := s.traffic()
	traffic.wantReaches(ids...)
	args := []string{"update", "--yes", "--pause", "100ms", "--key", s.key}
	s.bbctlExit(1, args...).want(t, 1, "web1: updated", "web2: updated", "web3: failed while updating", "| no such image", "it stays frozen",
		"2 of 6 updated", "not tried: web4 web5 web6", "go on with: bbctl update --resume=")
	s.wantServers("web1", "web2", "web4", "web5", "web6")
	s.bbctlExit(0, "list-nodes", "--state", "frozen").want(t, 0, "web3", "failed while updating", "exit")

	if err := os.Remove(s.file("fail", "web3")); err != nil {
		t.Fatal(err)
	}
	s.bbctlExit(0, append(args, "--resume")...).want(t, 0, "web3: updated", "web6: updated", "6 of 6 updated")
	s.wantServers(ids...)
	traffic.wantReaches(ids...)
	traffic.wantNoHarm()
	if log := read(t, s.nginx.ErrorLog); strings.Contains(log, "connect() failed") { // Nginx went on with another node: no harm
		t.Error("a node was back before its application")
	}
	for _, id := range ids {
		if got := read(t, s.file("asked", id)); got != "x\n" {
			t.Errorf("%s was updated %d times", id, strings.Count(got, "x"))
		}
	}
	s.bbctlExit(0, "history", "web3").want(t, 0, "node_frozen", "freeze_replaced", "failed while updating", "node_unfrozen")
}

// Ctrl-C waits for the node at hand; a second one ends at once, and says how things stand. Who goes on waits for the
// command that still runs, and does not send it again.
func TestInterruptedUpdate(t *testing.T) {
	t.Parallel()
	s := newUpdateSite(t, "web1", "web2")
	args := []string{"--redis-url", s.redis.URL(), "update", "--yes", "--pause", "0s", "--key", s.key}
	up := start(t, s.dir, "bbctl", args...)
	serverstest.Eventually(t, soon, func() error {
		if !s.exists("asked", "web1") {
			return fmt.Errorf("web1 is not asked to update yet")
		}
		return nil
	})
	up.signal(syscall.SIGINT)
	up.wantLog("interrupted: finishing web1; once more ends at once")
	up.signal(syscall.SIGINT)
	up.wantExit(1)
	up.wantLog("web1: interrupted while updating; it stays frozen, its update may be done in part, or still go on")
	up.wantLog("go on with: bbctl update --resume=")
	s.wantServers("web2")

	s.deploy()
	s.bbctlExit(0, append(args[2:], "--resume")...).want(t, 0, "web1: updated", "web2: updated", "2 of 2 updated")
	if got := read(t, s.file("asked", "web1")); got != "x\n" {
		t.Errorf("web1 was updated %d times", strings.Count(got, "x"))
	}
	s.wantServers("web1", "web2")
}
