package ctl

import (
	"slices"
	"strings"
	"time"
)

// orders are what --sort takes. Equal ones stay sorted by name.
var orders = map[string]func(a, b nodeView) int{
	"name": func(a, b nodeView) int { return strings.Compare(a.ID, b.ID) },
	"state": func(a, b nodeView) int { // trouble first
		return slices.Index(states, b.State) - slices.Index(states, a.State)
	},
	"since":  func(a, b nodeView) int { return newest(a.Since, b.Since) },
	"beat":   func(a, b nodeView) int { return -newest(a.LastBeat, b.LastBeat) },
	"dc":     func(a, b nodeView) int { return strings.Compare(a.DataCenter, b.DataCenter) },
	"cpu":    func(a, b nodeView) int { return highest(a.CPU, b.CPU) },
	"memory": func(a, b nodeView) int { return highest(a.Memory, b.Memory) },
}

// newest sorts the newest first, what is not known last.
func newest(a, b *time.Time) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return b.Compare(*a)
}

// highest sorts the highest first, what is not known last.
func highest(a, b *float64) int {
	of := func(f *float64) float64 {
		if f == nil {
			return -1
		}
		return *f
	}
	switch d := of(b) - of(a); {
	case d > 0:
		return 1
	case d < 0:
		return -1
	}
	return 0
}
