package ctl

import (
	"strings"
	"testing"
)

// Where a key of a wrong type stands in a node's place, bbctl says so, and the way out that it names is one.
func TestANodeOfAWrongType(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	s.node("web1", true)
	s.node("web3", true)
	s.do(s.rdb.Set(ctx, "bazbeans:node:web3:status", "x", 0))
	const why = "bazbeans:node:web3:status is a string and should be a hash (bbctl forget web3 removes it, and our agent registers anew)"
	row := func() string {
		t.Helper()
		for line := range strings.Lines(s.must("list-nodes")) {
			if strings.HasPrefix(line, "web3 ") {
				return strings.Join(strings.Fields(line), " ")
			}
		}
		return ""
	}
	for _, want := range []string{"web3 faulty - - 2s - - 12% 51% 1.2.0 " + why, "web3 faulty - - - - - - - - " + why} {
		if got := row(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if text := s.must("status", "web3"); !strings.Contains(text, "faulty\n") || !strings.Contains(text, why) {
			t.Errorf("%s", text)
		}
		s.do(s.rdb.Del(ctx, "bazbeans:node:web3:heartbeat")) // it expires: its agent can't write a new one
	}
	s.must("forget", "web3")
	if got := row(); got != "" {
		t.Errorf("after forget: %s", got)
	}

	s.do(s.rdb.Set(ctx, "bazbeans:nodes:active", "x", 0))
	r := s.run("list-nodes")
	if r.code != 1 || !strings.Contains(r.stderr, "WRONGTYPE bazbeans:nodes:active is a string and should be a set") || !strings.Contains(r.stderr, "redis-cli DEL") {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
}
