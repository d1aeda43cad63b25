package load

import (
	"testing"
	"time"
)

func TestBackendForgetsTheOldestStarts(t *testing.T) {
	var b Backend
	first := time.Now()
	const n = remembered + 10
	for i := range n {
		b.started(first.Add(time.Duration(i)))
	}
	starts := b.Starts(time.Time{})
	if len(starts) != remembered || starts[0] != first.Add(n-remembered) || starts[remembered-1] != first.Add(n-1) {
		t.Errorf("%d starts, want the newest %d", len(starts), remembered)
	}
	if got := b.Starts(first.Add(n - 3)); len(got) != 2 {
		t.Errorf("%d starts after the last but two, want 2", len(got))
	}
}
