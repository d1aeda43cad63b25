package main

import (
	"testing"
	"time"
)

// What is wrong with lbd fails a row however often it is played; what chance did does not.
func TestAgain(t *testing.T) {
	lost := func(failed, more int64) Result {
		res := Result{Requests: 100, Failed: failed, More: more}
		res.judge(nil)
		return res
	}
	fell := Result{Wrong: "it fell"}
	for name, c := range map[string]struct {
		res   Result
		still time.Duration
		plays int
		again bool
	}{
		"it held":                            {lost(0, 0), time.Minute, 1, false},
		"the machine stood still":            {fell, stillMost, 1, true},
		"it stood still each time":           {fell, stillMost, playsMost, false},
		"it did not":                         {fell, stillMost - 1, 1, false},
		"requests, and none may fail":        {lost(1, 0), 0, 1, false},
		"requests that chance deals out":     {lost(31, 30), 0, 1, true},
		"requests each time":                 {lost(31, 30), 0, playsMost, false},
		"as many as chance may have it fail": {lost(30, 30), 0, 1, false},
	} {
		if why := c.res.again(c.still, c.plays); (why != "") != c.again {
			t.Errorf("%s: played again: %q", name, why)
		}
	}
}
