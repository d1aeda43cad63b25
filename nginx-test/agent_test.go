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

// The last node can't be drained: the guard goes on serving it. Its agent doesn't wait for that as long as for others.
func TestLastNodeLeaves(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1"}})
	agent := s.nodes["web1"].agent
	agent.stop()
	agent.wantLog("leaves before it is drained", "lb1: holds web1")
	s.wantAnswersFrom("web1")
}
