package nginxtest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// The main job: whatever happens to nodes, Nginx sends to those that may serve and to no other, and no client notices.
// Everything is told by flags, as in the README, and its timing is the default: between two looks of its own lbd lets
// ten seconds pass, so what happens sooner was told to it, or noticed by its own clock.
func TestMainJob(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2"}, byFlags: true})
	s.node("web3", mortal...)
	traffic := s.traffic()
	traffic.wantReaches("web1", "web2", "web3")

	// An operator takes a node out. When bbctl has returned, not one request begins there any more.
	s.bbctl("freeze", "web1", "--wait", "--reason", "kernel update")
	frozen := time.Now()
	s.wantServers("web2", "web3")
	if e := s.wantEvent("node_frozen", "web1"); e.Reason != "kernel update" || !slices.Equal(e.ActiveNodes, []string{"web2", "web3"}) {
		t.Errorf("event %+v, want the reason, and the others active", e)
	}
	traffic.wantReaches("web2", "web3")
	s.nodes["web1"].wantNoMore(frozen)

	// And puts it back.
	s.bbctl("unfreeze", "web1", "--wait")
	s.wantEvent("node_unfrozen", "web1")
	s.wantServers("web1", "web2", "web3")
	traffic.wantReaches("web1", "web2", "web3")

	// A node leaves in order.
	s.nodes["web2"].agent.stop()
	if e := s.wantEvent("node_removed", "web2"); !slices.Equal(e.ActiveNodes, []string{"web1", "web3"}) {
		t.Errorf("event %+v, want web1 and web3 active", e)
	}
	s.wantServers("web1", "web3")

	// An agent dies without a word: nobody says so but its heartbeat's end.
	s.wantExpiry("web3", 10*time.Second)
	s.wantServers("web1")
	if got := s.mustStatus().state("web3"); got != "dead" {
		t.Errorf("/status calls web3 %q, want dead", got)
	}

	// A newcomer gets traffic, and the others come back when their agents do.
	s.node("web4", "--data-center", "dc9")
	if e := s.wantEvent("node_registered", "web4"); e.DataCenter != "dc9" || s.nodes["web4"].app.Addr() != fmt.Sprintf("127.0.0.1:%d", e.NodePort) {
		t.Errorf("event %+v, want dc9 and the port of %s", e, s.nodes["web4"].app.Addr())
	}
	s.wantServers("web1", "web4")
	s.nodes["web2"].restart()
	s.nodes["web3"].restart()
	s.wantServers("web1", "web2", "web3", "web4")
	traffic.wantReaches("web1", "web2", "web3", "web4")
	traffic.wantNoHarm()
}

// wantExpiry kills the node's agent and waits until the node is out of the file, which must have been written after the
// end of its heartbeat, and so soon that it was hardly timing.resync that made lbd look.
func (s *site) wantExpiry(id string, resync time.Duration) {
	s.t.Helper()
	ends := func() (time.Time, time.Duration) { // it ends then or a moment later
		asked := time.Now()
		left, err := s.rdb.PTTL(s.t.Context(), "bazbeans:node:"+id+":heartbeat").Result()
		if err != nil {
			s.t.Fatalf("heartbeat of %s: %v", id, err)
		}
		return asked.Add(left), left
	}
	first, _ := ends()
	s.nodes[id].agent.kill()
	looked := s.mustStatus().Redis.LastLook
	last, left := ends()
	if left > 0 {
		first = last // no heartbeat follows any more; without one left this machine has stood still, and that was later than the first
	}
	serverstest.Eventually(s.t, soon, func() error {
		if slices.Contains(s.servers(s.output), id) {
			return fmt.Errorf("%s, whose heartbeat ended %s ago, is a server", id, time.Since(first))
		}
		return nil
	})
	file, err := os.Stat(s.output)
	if err != nil {
		s.t.Fatal(err)
	}
	const tick = 20 * time.Millisecond // a TTL is whole milliseconds, and the kernel stamps files by its tick
	if at := file.ModTime(); at.Before(first.Add(-tick)) || at.After(last.Add(5*time.Second)) && at.After(looked.Add(resync)) {
		s.t.Errorf("%s was taken out %s after the end of its heartbeat, want soon after it", id, at.Sub(first))
	}
}

// A machine crashes, application and agent at once: until the heartbeat expires Nginx itself tries the next server,
// and GETs go on.
func TestMachineCrashes(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web3"}, config: "timing: {resync: 10m}\n"}) // nothing but the expiry makes lbd look
	s.node("web2", mortal...)
	traffic := s.traffic()
	traffic.wantReaches("web1", "web2", "web3")
	s.nodes["web2"].app.Kill()
	s.wantExpiry("web2", 10*time.Minute)
	s.wantServers("web1", "web3")
	crashed := traffic.Counts()
	traffic.goOn(time.Second)
	if now := traffic.Counts(); now.ByMethod["GET"].Failed > 0 || now.ByReason["status 502"] > crashed.ByReason["status 502"] {
		t.Errorf("a dead machine harms GETs, or POSTs when it is no server any more: %+v, then %+v", crashed, now)
	}
}

// An operator's freeze is of the node, not of its agent's run: it holds over every end and start of the agent.
func TestFreezeOutlivesTheAgent(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2"}})
	web1 := s.nodes["web1"]
	s.bbctl("freeze", "web1")
	s.wantServers("web2")

	web1.agent.stop()
	web1.restart().wantLog("frozen by")
	s.wantServers("web2")
	web1.agent.kill()
	s.bbctl("freeze", "web1", "--reason", "no agent is needed for this")
	web1.restart().wantLog("frozen by", "no agent is needed")
	s.wantServers("web2")

	s.bbctl("unfreeze", "web1")
	s.wantServers("web1", "web2")
}

// Two agents with one id: the newer has it, the older says who and goes.
func TestNewerAgentWins(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2"}})
	traffic := s.traffic()
	older := s.nodes["web1"]
	newer := s.node("web1") // its application is another one
	older.agent.wantExit(5)
	older.agent.wantLog("a newer agent")
	s.wantServers("web1", "web2")
	s.wantText("server " + newer.app.Addr())
	newer.agent.stop()
	s.wantServers("web2")
	traffic.wantNoHarm()
}

// A frozen node is drained when every load balancer says so. One that is silent blocks and is named, until an operator
// forgets it.
func TestTwoLoadBalancers(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2"}})
	lb2 := s.newBalancer("lb2", options{})
	lb2.start()
	lb2.wantServers("web1", "web2")
	lb2.wantAck()
	first, second := s.traffic(), lb2.traffic()
	first.wantReaches("web1", "web2")
	second.wantReaches("web1", "web2")

	s.bbctl("freeze", "web1", "--wait")
	frozen := time.Now()
	first.wantReaches("web2")
	second.wantReaches("web2")
	s.nodes["web1"].wantNoMore(frozen)
	s.bbctl("unfreeze", "web1", "--wait")
	first.wantReaches("web1")
	second.wantReaches("web1")

	lb2.lbd.kill()                                 // its Nginx goes on, and nobody can tell it
	serverstest.Eventually(t, soon, func() error { // lb1 may have needed longer the first time
		if r := s.bbctlExit(4, "freeze", "web1", "--wait", "--deadline", "3s"); !strings.HasSuffix(strings.TrimSpace(r.stderr), "missing: lb2") {
			return fmt.Errorf("want lb2 to be missing, and nobody else: %v", r)
		}
		return nil
	})
	s.wantServers("web2")
	second.wantReaches("web1")
	s.bbctl("lbs", "forget", "lb2")
	s.bbctl("freeze", "web1", "--wait")
	first.wantNoHarm()
	second.wantNoHarm()
}
