package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// testNodes is how many nodes a site of these tests has.
const testNodes = 2

// TestBrokenLBDsFail shows that rows can fail: an lbd without a flaw holds where nothing goes wrong, and each flaw is
// seen, though all of them say that all is well.
func TestBrokenLBDsFail(t *testing.T) {
	freeze := Row{Name: "a freeze", Run: (*Site).worksOn}
	flush := Row{Name: "FLUSHALL", Run: (*Site).flushed}
	for _, c := range []struct {
		row  Row
		flaw string
		want string // in what is wrong; "": it holds
	}{
		{freeze, "", ""},
		{freeze, empties, "has [127.0.0.66:66], want [web2]"},
		{freeze, adds, "has [127.0.0.66:66 web2], want [web2]"},
		{freeze, idles, "has [web1 web2], want [web2]"},
		{freeze, flickers, "requests failed, 0 at the control"},
		{flush, "", "want [web1 web2]"},
	} {
		t.Run(c.row.Name+" "+c.flaw, func(t *testing.T) {
			t.Parallel()
			bin := t.TempDir()
			if err := naiveBin(bin, c.flaw); err != nil {
				t.Fatal(err)
			}
			c.row.Setup.Nodes = testNodes
			res := (&game{&c.row, byReload}).play(t.Context(), options{bin: bin, short: true}, t.Output())
			if c.want == "" && res.Wrong != "" || !strings.Contains(res.Wrong, c.want) {
				t.Errorf("wrong is %q, want %q", res.Wrong, c.want)
			}
			if res.Skipped != "" || res.Requests == 0 {
				t.Errorf("not played: %+v", res)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		res     Result
		err     error
		verdict string
		wrong   string
	}{
		"nothing lost":            {Result{Requests: 100}, nil, "held", ""},
		"as many as the control":  {Result{Requests: 100, Failed: 7, Control: 7}, nil, "held", ""},
		"fewer":                   {Result{Requests: 100, Failed: 2, Control: 7}, nil, "held", ""},
		"one more":                {Result{Requests: 100, Failed: 8, Control: 7}, nil, "FAILED", "8 requests failed, 7 at the control"},
		"one more than allowed":   {Result{Requests: 100, Failed: 11, Control: 7, More: 3}, nil, "FAILED", "(3 more are allowed)"},
		"as many as allowed":      {Result{Requests: 100, Failed: 10, Control: 7, More: 3}, nil, "held", ""},
		"no traffic":              {Result{}, nil, "FAILED", "nothing is proven"},
		"something does not hold": {Result{Requests: 100}, errors.New("it fell"), "FAILED", "it fell"},
		"can't be played":         {Result{}, fmt.Errorf("%w: no disk", errCannot), "not played", ""},
	} {
		c.res.judge(c.err)
		if v := c.res.verdict(); v != c.verdict || !strings.Contains(c.res.Wrong, c.wrong) || (c.wrong == "") != (c.res.Wrong == "") {
			t.Errorf("%s: %s, %q; want %s, %q", name, v, c.res.Wrong, c.verdict, c.wrong)
		}
	}
}

// TestAWordThatPanicsFailsItsRow: the others are still played.
func TestAWordThatPanicsFailsItsRow(t *testing.T) {
	s := &Site{ctx: t.Context()}
	if err := s.tell(func(*Site) { panic("oh") }); err == nil || !strings.Contains(err.Error(), "panic: oh") {
		t.Errorf("%v, want the panic", err)
	}
	if err := (&Site{}).tell(func(s *Site) { s.fail("no"); panic("not reached") }); err == nil || err.Error() != "no" {
		t.Errorf("%v, want no", err)
	}
}
