package ctl

import (
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bazbeans/bazbeans/pool"
)

// An application that takes its time after the update is waited for; one that stays unwell is a failure.
func TestUpdateWaitsForHealth(t *testing.T) {
	s := newSite(t)
	s.node("web1", true)
	s.node("web2", true)
	var asked atomic.Int32
	s.agent("web1", func(c pool.Command) *pool.Result {
		if c.Type == "health_check" && asked.Add(1) < 3 {
			return &pool.Result{State: pool.Succeeded, Output: json.RawMessage(`{"healthy":false,"reason":"http: refused"}`)}
		}
		return succeed(c)
	})
	s.balancer("lb1", nil)
	if r := s.update("web1"); r.code != 0 || asked.Load() != 3 {
		t.Errorf("%+v", r)
	}
	asked.Store(-1000)
	if r := s.update("web1", "--health-timeout", "3s"); r.code != 1 || !strings.Contains(r.stderr, "web1: failed while checking its health: not well within 3s: unhealthy: http: refused; it stays frozen, its update is done") {
		t.Errorf("%+v", r)
	}
}

// One bad answer freezes no node whose checks fall after two: a run waits for a good one all the same. That it asks often
// drives nothing out of the node's last commands, by which --resume knows what was done.
func TestUpdateWaitsUntilEachCheckPasses(t *testing.T) {
	s := newSite(t)
	s.node("web1", true)
	s.node("web2", true)
	s.balancer("lb1", nil)
	var asked, bad atomic.Int32
	bad.Store(1)
	s.agent("web1", func(c pool.Command) *pool.Result {
		r := succeed(c)
		if c.Type == "health_check" {
			app := "ok, 1 of 3 in a row"
			if asked.Add(1) <= bad.Load() {
				app = "answers 502 Bad Gateway"
			}
			r.Output = json.RawMessage(`{"healthy":true,"checks":{"app":"` + app + `","db":"ok"}}`)
		}
		return r
	})
	if r := s.update("web1"); r.code != 0 || asked.Load() != 2 {
		t.Errorf("asked %d times: %+v", asked.Load(), r)
	}
	last, err := s.p.LastCommands(t.Context(), "web1", 50)
	if err != nil || len(last) != 1 || last[0].Type != "update" {
		t.Errorf("%+v, %v", last, err)
	}
	bad.Store(1000)
	if r := s.update("web1", "--health-timeout", "2s"); r.code != 1 || !strings.Contains(r.stderr, ": not well within 2s: check app: answers 502 Bad Gateway; it stays frozen, its update is done") {
		t.Errorf("%+v", r)
	}
}

// Ctrl-C lets the node at hand finish, and begins no other.
func TestUpdateInterrupted(t *testing.T) {
	s := newSite(t)
	for _, id := range []string{"web1", "web2", "web3"} {
		s.node(id, true)
	}
	s.balancer("lb1", nil)
	begun, goOn := make(chan string, 3), make(chan bool)
	for _, id := range []string{"web1", "web2", "web3"} {
		s.agent(id, func(c pool.Command) *pool.Result {
			if c.Type == "update" {
				begun <- id
				<-goOn
			}
			return succeed(c)
		})
	}
	r := s.start(quick...)
	<-begun
	r.interrupt()
	r.stderr.shows(t, "bbctl: interrupted: finishing web1; once more ends at once\n")
	close(goOn)
	r.wantEnd(t, 1)
	if got := figure(r.stdout.String()); got != "web1: updated (T)\n" || len(begun) > 0 {
		t.Errorf("%s", got)
	}
	if got := r.stderr.String(); !strings.Contains(got, "stopped: interrupted; 1 of 3 updated in ") {
		t.Error(got)
	}
	if r := s.update("--resume"); r.code != 0 || figure(r.stdout) != "web2: updated (T)\nweb3: updated (T)\n" {
		t.Errorf("%+v", r)
	}
}

// What another operator freezes while a run goes on stays frozen, with that operator's reason, whether the run had
// begun with the node or not, and whether it goes well there or fails.
func TestUpdateLeavesOthersFreezesAlone(t *testing.T) {
	s := newSite(t)
	s.balancer("lb1", nil)
	all := []string{"web1", "web2", "web3"}
	for _, id := range all {
		s.node(id, true)
	}
	freezing := func(result func(pool.Command) *pool.Result) func(pool.Command) *pool.Result {
		return func(c pool.Command) *pool.Result {
			if c.Type == "update" {
				for _, id := range all[:2] {
					if _, err := s.p.Freeze(t.Context(), id, "bob@desk", "disk is dying"); err != nil {
						t.Error(err)
					}
				}
			}
			return result(c)
		}
	}
	stays := func() {
		t.Helper()
		for _, id := range all[:2] {
			if n, err := s.p.Node(t.Context(), id); err != nil || n.Freeze == nil || n.Freeze.By != "bob@desk" || n.Freeze.Reason != "disk is dying" {
				t.Errorf("%s: %+v, %v", id, n, err)
			}
		}
	}
	var outcome atomic.Pointer[func(pool.Command) *pool.Result]
	well := freezing(succeed)
	outcome.Store(&well)
	s.agent("web1", func(c pool.Command) *pool.Result { return (*outcome.Load())(c) })
	s.agent("web2", succeed)
	s.agent("web3", succeed)
	r := s.update("--min-active", "0")
	const by = "frozen by bob@desk meanwhile (disk is dying): stays frozen\n"
	if r.code != 0 || figure(r.stdout) != "web1: updated (T), "+by+"web2: left out, "+by+"web3: updated (T)\n" ||
		!strings.Contains(r.stderr, " 2 of 3 updated in ") || !strings.Contains(r.stderr, ", frozen by others meanwhile: web1 web2\n") {
		t.Errorf("%+v", r)
	}
	stays()
	s.must("unfreeze", "web1", "web2")
	bad := freezing(fail("update", "no image"))
	outcome.Store(&bad)
	if r := s.update("web1"); r.code != 1 || !strings.Contains(r.stderr, "web1: failed while updating: update failed: no image; it stays frozen, ") || !strings.Contains(r.stderr, "; "+by) {
		t.Errorf("%+v", r)
	}
	stays()
}

// --force goes on without those of whom nothing is known, and does not switch off --min-active.
func TestUpdateForce(t *testing.T) {
	s := newSite(t)
	s.balancer("lb1", nil)
	for _, id := range []string{"web1", "web2", "web3", "web4"} {
		s.node(id, true)
		s.agent(id, func(c pool.Command) *pool.Result {
			if id == "web3" && c.Type == "update" { // two others die meanwhile
				s.do(s.rdb.Del(t.Context(), "bazbeans:node:web1:heartbeat", "bazbeans:node:web2:heartbeat"))
			}
			return succeed(c)
		})
	}
	s.do(s.rdb.SAdd(t.Context(), "bazbeans:lbs", "gone"))
	r := s.update("web1", "--force", "--drain-timeout", "2s")
	if r.code != 0 || !strings.Contains(r.stderr, "web1: goes on by --force, not known to be served everywhere: gone: silent") {
		t.Errorf("%+v", r)
	}
	s.must("lbs", "forget", "gone")
	r = s.update("web3", "web4", "--min-active", "2", "--force")
	if r.code != 5 || !strings.HasPrefix(r.stdout, "web3: updated") || !strings.Contains(r.stderr, "stopped: too few nodes would stay in service: 1 of the pool's 2 active nodes") {
		t.Errorf("%+v", r)
	}
}
