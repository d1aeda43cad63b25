package lua_test

import (
	"reflect"
	"testing"
)

func TestRoundRobinAndChange(t *testing.T) {
	nodes := newNodes(t, 3)
	s := newSite(t, peersOf(nodes), siteOptions{workers: 1})
	if got, want := s.shares("/", 30), map[string]int{"n0": 10, "n1": 10, "n2": 10}; !reflect.DeepEqual(got, want) {
		t.Errorf("by the seed: %v, want %v", got, want)
	}
	two := peersOf(nodes)
	two[1].Gone = true
	s.put(two)
	if got, want := s.shares("/", 30), map[string]int{"n0": 15, "n2": 15}; !reflect.DeepEqual(got, want) {
		t.Errorf("after the change: %v, want %v", got, want)
	}
	s.idle()
	t.Log(s.state())
}
