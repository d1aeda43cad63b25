package ctl

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestFreezeAndUnfreeze(t *testing.T) {
	s := newSite(t)
	s.fixed()
	s.want(0, "web1: frozen\n", "", "freeze", "web1", "--reason", "kernel \x1b[2J")
	s.want(0, "web1: was frozen already\n", "", "freeze", "web1", "--reason", "kernel \x1b[2J")
	if got := s.run("list-nodes", "--state", "frozen").stdout; !strings.Contains(got, `kernel \x1b[2J (alice@desk)`) {
		t.Error(got)
	}
	// All that can be done is done; the code is the worst.
	s.want(3, "web5: frozen\npy1: frozen\n", "bbctl: node \"web9\": no such node: did you mean web1, web2 or web3?\n",
		"freeze", "web5", "web9", "py1", "web5")
	s.want(0, "web1: unfrozen\npy1: unfrozen\nweb6: was not frozen, but its heartbeat has expired: no traffic until its agent is back\n", "", "unfreeze", "web1", "py1", "web6")

	// The node's own freeze: nothing to lift is a refusal; the operator's lifted is what was asked for.
	own := `still frozen by its own health check: disk: 99% \x1b[31mfull\x1b[0m\nrm -rf` + "\n"
	s.want(5, "web3: no operator's freeze to lift; "+own, "", "unfreeze", "web3")
	s.want(0, "web3: frozen\n", "", "freeze", "web3")
	s.want(0, "web3: operator's freeze lifted; "+own, "", "unfreeze", "web3")
	s.want(5, "web3: no operator's freeze to lift; "+own, "bbctl: node \"nope\": no such node (see bbctl list-nodes)\n", "unfreeze", "nope", "web3")
}

func TestOutcomesAsData(t *testing.T) {
	s := newSite(t)
	s.fixed()
	r := s.run("freeze", "web1", "nope", "web3", "-o", "json")
	var got []struct {
		ID, Result string
		Rev        int64
	}
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || r.code != 3 || len(got) != 3 {
		t.Fatalf("%v: %+v", err, r)
	}
	if got[0].ID != "web1" || got[0].Result != "frozen" || got[0].Rev < 1772366390000 || got[1].Result != "no_such_node" || got[2].Result != "frozen" {
		t.Errorf("%+v", got)
	}
	r = s.run("unfreeze", "web3", "web6", "-o", "yaml")
	if r.code != 0 || !strings.Contains(r.stdout, "result: lifted_own_freeze_stays\n") || !strings.Contains(r.stdout, `detail: "disk: 99% \e[31mfull`) ||
		!strings.Contains(r.stdout, "- id: web6\n  result: unfrozen_dead\n") {
		t.Errorf("%+v", r)
	}
	if r := s.run("unfreeze", "web3", "-o", "json"); r.code != 5 || !strings.Contains(r.stdout, `"result": "own_freeze_stays"`) {
		t.Errorf("%+v", r)
	}
}

func TestUnknownNode(t *testing.T) {
	s := newSite(t)
	s.fixed()
	s.want(3, "", "bbctl: node \"wbe3\": no such node: did you mean web3?\n", "status", "wbe3")
	s.want(3, "", "bbctl: node \"zzz\": no such node (see bbctl list-nodes)\n", "status", "zzz")
	s.want(3, "", "bbctl: node \"WEB1\": no such node: did you mean web1?\n", "health-check", "WEB1")
	s.want(3, "", "bbctl: no such load balancer: lb4: did you mean lb1, lb2 or lb3?\n", "lbs", "forget", "lb4")
}

func TestCleanupAndForget(t *testing.T) {
	s := newSite(t)
	s.fixed()
	s.want(0, "web4: taken out of the active set, it has no heartbeat\n", "", "cleanup")
	s.want(0, "nothing to clean up\n", "", "cleanup")
	s.do(s.rdb.SAdd(t.Context(), "bazbeans:nodes:active", "web4"))
	s.want(0, "[\n  {\n    \"id\": \"web4\",\n    \"result\": \"removed\"\n  }\n]\n", "", "cleanup", "-o", "json")

	s.want(0, "web4: forgotten\n", "", "forget", "web4")
	s.want(3, "web5: forgotten\n", "bbctl: node \"web4\": no such node: did you mean web1, web2 or web3?\n", "forget", "web4", "web5")
	s.want(0, "lb3: forgotten\n", "", "lbs", "forget", "lb3")
	if got := s.must("lbs"); strings.Contains(got, "lb3") {
		t.Error(got)
	}
	if got := strings.Fields(s.must("events", "-n", "1")); !slices.Equal(got[len(got)-3:], []string{"lb_forgotten", "lb3", "alice@desk"}) {
		t.Error(got)
	}
	if got := s.must("events", "-n", "1", "-o", "json"); !strings.Contains(got, `"lb": "lb3"`) {
		t.Error(got)
	}
}

// An entry that is no node id is shown so that the command beside it, pasted into a shell, takes it out.
func TestRefusedEntries(t *testing.T) {
	s := newSite(t)
	s.fixed()
	evil := `bbctl: refused, no node id: "bad\x1b[2J\nid\x00" (remove it: bbctl forget --quoted \"bad\\x1b\[2J\\nid\\x00\")` + "\n"
	for _, f := range formats {
		if r := s.run("list-nodes", "-o", f); r.code != 0 || r.stderr != evil {
			t.Errorf("%s: %+v", f, r)
		}
	}
	if out := s.must("forget", "--quoted", `"bad\x1b[2J\nid\x00"`); out != `bad\x1b[2J\nid\x00: forgotten`+"\n" {
		t.Errorf("%q", out)
	}
	if r := s.run("list-nodes"); r.stderr != "" {
		t.Error(r.stderr)
	}
	for i := range 12 {
		s.do(s.rdb.SAdd(t.Context(), "bazbeans:nodes:all", strings.Repeat("'", 300+i)))
	}
	if lines := strings.Split(s.run("list-nodes").stderr, "\n"); len(lines) != 12 || lines[10] != "bbctl: … and 2 more" || len(lines[0]) > 300 {
		t.Errorf("%q", lines)
	}
}

// A weight of 0 gets no traffic, whatever the state says.
func TestWeightZero(t *testing.T) {
	s := newSite(t)
	s.node("web1", true, "weight", "0")
	if got := s.must("status", "web1"); !strings.Contains(got, "traffic      no\n") || !strings.Contains(got, "why          its weight is 0\n") {
		t.Error(got)
	}
}

func TestNamesNearby(t *testing.T) {
	for name, want := range map[string]string{
		"":     " (see x)",
		"w":    " (see x)",
		"we":   ": did you mean web1, web2 or web10?",
		"web9": ": did you mean web1 or web2?",
		"web":  ": did you mean web1, web2 or web10?",
		"wbe1": ": did you mean web1?",
		"BETA": ": did you mean beta?",
		"bteo": " (see x)",
	} {
		if got := didYouMean(name, []string{"web1", "web2", "web10", "beta"}, "x"); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
