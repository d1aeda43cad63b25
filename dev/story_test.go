package dev

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/dev/load/loadtest"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

func TestStory(t *testing.T) {
	s := start(t, Options{})
	var out bytes.Buffer
	st := newStory(s, load.Options{URL: s.URL(), Rate: 200}, &out)
	st.within = time.Minute
	st.pace = 1100 * time.Millisecond // just above lbd's min_interval
	if err := st.play(t.Context()); err != nil {
		t.Errorf("%v; it said:\n%s", err, &out)
	}
	for _, want := range []string{"web2 frozen: drained after", "web2 serves again after", "web3 killed", "web3 taken out of Nginx after",
		"web3 serves again after", "freeze web2 → its last request begins", "requests failed                                 0\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &out)
		}
	}
	var reloads int
	_, after, _ := strings.Cut(out.String(), "reloads of Nginx")
	if fmt.Sscan(after, &reloads); reloads < 5 { // one for each change, and the first
		t.Errorf("%d reloads were counted:\n%s", reloads, &out)
	}
}

// A story whose effects do not show fails, at each step.
func TestStoryBelievesNothing(t *testing.T) {
	s := start(t, Options{})
	elsewhere, err := load.Listen("127.0.0.1:0", "other")
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	story := func(url string, within time.Duration) *story {
		st := newStory(s, load.Options{URL: url, Rate: 200}, t.Output())
		st.pace, st.within = time.Millisecond, within
		return st
	}
	const soon, long = 500 * time.Millisecond, time.Minute
	fails := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	fails(story("http://"+elsewhere.Addr(), soon).play(t.Context()), "web1 got 0 requests")
	fails(story("http://127.0.0.1:1", soon).play(t.Context()), "requests failed (connect: ")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	fails(story(s.URL(), long).play(cancelled), "interrupted")

	// Somebody sends to a node past Nginx.
	n := s.Node("web2")
	for _, n := range s.Nodes() {
		defer loadtest.Start(t, load.Options{URL: "http://" + n.Addr.String(), Rate: 200}).End()
	}
	fails(story(s.URL(), long).freeze(t.Context(), n), "requests after it was drained")
	if err := story(s.URL(), long).unfreeze(t.Context(), n); err != nil {
		t.Error(err)
	}

	// lbd is gone.
	last := len(s.closing) - 1
	if err := s.closing[last](); err != nil {
		t.Fatal(err)
	}
	s.closing = s.closing[:last]
	serverstest.Eventually(t, long, func() error { // half a second may be too short for the write alone
		err := story(s.URL(), soon).freeze(t.Context(), n)
		if want := "wait until drained: lb1: still serves rev"; err == nil || !strings.Contains(err.Error(), want) {
			return fmt.Errorf("%w, want %q", err, want)
		}
		return nil
	})
	fails(story(s.URL(), soon).kill(t.Context(), n), "ask lbd")
}

func TestVerdict(t *testing.T) {
	for want, r := range map[string]load.Report{
		"":                    {Counts: load.Counts{Outcome: load.Outcome{Sent: 9, OK: 9, Repeated: 2}}},
		"no request was sent": {},
		"3 of 9 requests failed (status 502: 2, timeout: 1)": {Counts: load.Counts{Outcome: load.Outcome{Sent: 9, OK: 6, Failed: 3},
			ByReason: map[string]int64{"timeout": 1, "status 502": 2}}},
		"2 of 9 requests failed (never sent: 2)": {Counts: load.Counts{Outcome: load.Outcome{Sent: 7, OK: 7}, Dropped: 2}},
	} {
		got := ""
		if err := verdict(&r); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
