package main

import (
	"testing"
	"time"
)

// A row that did not hold is played again only when the machine stood still, and not for ever.
func TestAgain(t *testing.T) {
	fell := Result{Wrong: "it fell"}
	for name, c := range map[string]struct {
		res   Result
		still time.Duration
		plays int
		again bool
	}{
		"it held":                  {Result{}, time.Minute, 1, false},
		"the machine stood still":  {fell, stillMost, 1, true},
		"it stood still each time": {fell, stillMost, playsMost, false},
		"it did not":               {fell, stillMost - 1, 1, false},
	} {
		if why := c.res.again(c.still, c.plays); (why != "") != c.again {
			t.Errorf("%s: played again: %q", name, why)
		}
	}
}
