package nginxtest

import "testing"

// Whoever stops a node stops its agent, waits for its end, and then the application: nothing else is needed.
func TestStoppedNodeLosesNoRequest(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2", "web3"}})
	tr := s.traffic()
	tr.wantReaches("web1", "web2", "web3")
	for _, id := range []string{"web2", "web3"} {
		n := s.nodes[id]
		n.agent.stop()
		n.app.Kill() // as hard as can be
		n.agent.wantLog("drained: no load balancer")
		tr.wantReaches("web1")
	}
	s.wantServers("web1")
	tr.wantNoHarm()
}

// A node that can't be drained, since it is the last one, is waited for until the deadline.
func TestLastNodeIsNotDrainedForEver(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	n := s.node("web1", "--drain-timeout", "2s")
	s.wantServers("web1")
	s.balancer.wantAck()
	n.agent.stop()
	n.agent.wantLog("leaves before it is drained", "lb1: holds web1")
	s.wantAnswersFrom("web1") // its guard goes on serving it
}
