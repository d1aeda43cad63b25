package nginx

import (
	"slices"
	"testing"
)

// A child that is left out of one reading of the kernel's list is not gone.
func TestSettled(t *testing.T) {
	list := func(pids ...int) (l []process) {
		for _, pid := range pids {
			l = append(l, process{PID: pid, Start: 1})
		}
		return l
	}
	for _, c := range []struct {
		name  string
		reads [][]process
		want  []process
	}{
		{"nothing happens", [][]process{list(1, 2), list(1, 2)}, list(1, 2)},
		{"one left out", [][]process{list(1), list(1, 2), list(1, 2)}, list(1, 2)},
		{"one ends", [][]process{list(1, 2, 3), list(2, 3), list(2, 3)}, list(2, 3)},
		{"one ends, and another is left out", [][]process{list(1, 2, 3), list(2), list(2, 3), list(2, 3)}, list(2, 3)},
		{"all left out once", [][]process{nil, list(1), list(1)}, list(1)},
		{"none", [][]process{nil, nil}, nil},
		{"no end of changes", [][]process{list(1), list(2), list(3, 4), list(5), list(6), list(7)}, list(3, 4)},
	} {
		n := 0
		got := settled(func() []process { n++; return c.reads[n-1] })
		if !slices.Equal(got, c.want) || n != len(c.reads) {
			t.Errorf("%s: %v after %d readings, want %v after %d", c.name, got, n, c.want, len(c.reads))
		}
	}
}
