package ctl

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/pool"
)

// soon bounds every wait for something that takes moments on a quiet machine.
const soon = time.Minute

// screen is an output that is read while it is written.
type screen struct{ serverstest.Transcript }

// shows waits until a line is there.
func (s *screen) shows(t *testing.T, line string) {
	t.Helper()
	serverstest.Eventually(t, soon, func() error {
		if got := s.String(); !strings.Contains(got, line) {
			return fmt.Errorf("%q is not in\n%s", line, got)
		}
		return nil
	})
}

// matches is shows for a text with figures that are not the same each time.
func (s *screen) matches(t *testing.T, pattern string) {
	t.Helper()
	like := regexp.MustCompile(pattern)
	serverstest.Eventually(t, soon, func() error {
		if got := s.String(); !like.MatchString(got) {
			return fmt.Errorf("%q matches nothing in\n%s", pattern, got)
		}
		return nil
	})
}

// running is a bbctl beside the test.
type running struct {
	stdout, stderr screen
	interrupt      func()
	code           chan int
}

func (s *site) start(args ...string) *running {
	ctx, cancel := context.WithCancel(s.t.Context())
	r := &running{interrupt: cancel, code: make(chan int, 1)}
	go func() {
		r.code <- Main(ctx, append([]string{"--redis-url", s.url, "--as", "alice@desk"}, args...), nil, &r.stdout, &r.stderr)
	}()
	s.t.Cleanup(cancel)
	return r
}

func (r *running) wantEnd(t *testing.T, code int) {
	t.Helper()
	select {
	case got := <-r.code:
		if got != code {
			t.Errorf("exit %d, want %d\n%s%s", got, code, r.stdout.String(), r.stderr.String())
		}
	case <-time.After(soon):
		t.Fatalf("does not end\n%s%s", r.stdout.String(), r.stderr.String())
	}
}

func (s *site) ack(a pool.Ack) {
	s.t.Helper()
	if _, err := s.p.WriteAck(s.t.Context(), a, time.Minute); err != nil {
		s.t.Fatal(err)
	}
}

// late is a revision after all that bbctl will make.
var late = time.Now().Add(time.Hour).UnixMilli()

var tenths = regexp.MustCompile(`\d+\.\d s`)

var seconds = regexp.MustCompile(`\d+\.\d\d s`)

func TestFreezeWait(t *testing.T) {
	s := newSite(t)
	s.node("web1", true)
	s.node("web2", true)
	s.ack(pool.Ack{ID: "lb1", Rev: 5, Error: "test: \x1b[31mno"})
	s.ack(pool.Ack{ID: "lb2", Rev: late})
	s.do(s.rdb.Del(t.Context(), "bazbeans:lb:lb2"))
	r := s.start("freeze", "web1", "web2", "--wait", "--deadline", "5m")
	r.stderr.shows(t, `bbctl: waiting for lb1: still serves rev 5, its last error: test: \x1b[31mno`+"\n")
	r.stderr.shows(t, "bbctl: waiting for lb2: silent, its Nginx may still send\n")
	s.ack(pool.Ack{ID: "lb1", Rev: late, Held: []string{"web2"}})
	r.stderr.shows(t, "bbctl: waiting for lb1: holds web2: its guard goes on serving it\n")
	s.ack(pool.Ack{ID: "lb1", Rev: late, Draining: 2})
	r.stderr.shows(t, "bbctl: waiting for lb1: 2 old workers still draining\n")
	s.ack(pool.Ack{ID: "lb1", Rev: late})
	s.must("lbs", "forget", "lb2")
	r.wantEnd(t, 0)
	want := "web1: frozen\nweb2: frozen\nweb1: drained, no load balancer sends to it any more (T)\nweb2: drained, no load balancer sends to it any more (T)\n"
	if got := seconds.ReplaceAllString(r.stdout.String(), "T"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if n := strings.Count(r.stderr.String(), "\n"); n != 4 {
		t.Errorf("more than a line for each change:\n%s", r.stderr.String())
	}
}

// What is done within a moment is done without a word more.
func TestFreezeWaitAtOnce(t *testing.T) {
	s := newSite(t)
	s.node("web1", true)
	s.ack(pool.Ack{ID: "lb1", Rev: late})
	s.want(0, "web1: frozen\nweb1: drained, no load balancer sends to it any more (0.00 s)\n", "", "freeze", "web1", "--wait")
	s.want(0, "web1: was frozen already\nweb1: drained, no load balancer sends to it any more (0.00 s)\n", "", "freeze", "web1", "--wait")
	s.want(0, "web1: unfrozen\nweb1: back, every load balancer serves the change (0.00 s)\n", "", "unfreeze", "web1", "--wait")
	if out := s.must("freeze", "web1", "--wait", "-o", "json"); !strings.Contains(out, `"confirmed": true`) {
		t.Error(out)
	}
	s.want(3, "web1: was frozen already\nweb1: drained, no load balancer sends to it any more (0.00 s)\n",
		"bbctl: node \"web2\": no such node: did you mean web1?\n", "freeze", "web1", "web2", "--wait")
}

func TestWaitEndsUndone(t *testing.T) {
	s := newSite(t)
	s.node("web1", true)
	s.want(1, "web1: frozen\n", "bbctl: web1: not drained, stays frozen: no load balancer is known to this redis\n", "freeze", "web1", "--wait")
	s.ack(pool.Ack{ID: "lb1", Rev: 5})
	s.ack(pool.Ack{ID: "lb2", Rev: late})
	s.want(4, "web1: was frozen already\n", "bbctl: waiting for lb1: still serves rev 5\n"+
		"bbctl: web1: not drained, stays frozen: deadline of 2s passed, missing: lb1\n", "freeze", "web1", "--wait", "--deadline", "2s")
	s.want(4, "web1: unfrozen\n", "bbctl: waiting for lb1: still serves rev 5\n"+
		"bbctl: web1: unfrozen, but not served everywhere: deadline of 2s passed, missing: lb1\n", "unfreeze", "web1", "--wait", "--deadline", "2s")

	// Who refuses the node does not serve it.
	s.ack(pool.Ack{ID: "lb1", Rev: late, Refused: []pool.Refusal{{ID: "web1", Why: "address not in allow_networks"}}})
	s.must("freeze", "web1")
	s.want(4, "web1: unfrozen\n", "bbctl: waiting for lb1: refuses web1: address not in allow_networks\n"+
		"bbctl: web1: unfrozen, but not served everywhere: deadline of 2s passed, missing: lb1\n", "unfreeze", "web1", "--wait", "--deadline", "2s")

	s.ack(pool.Ack{ID: "lb1", Rev: 5})
	r := s.start("freeze", "web1", "--wait")
	r.stderr.shows(t, "waiting for lb1")
	r.interrupt()
	r.wantEnd(t, 1)
	if got := r.stderr.String(); !strings.HasSuffix(got, "bbctl: web1: not drained, stays frozen: interrupted, missing: lb1\n") {
		t.Error(got)
	}
}

func TestFollow(t *testing.T) {
	s := newSite(t)
	s.fixed()
	all := s.start("events", "--follow", "-n", "1")
	one := s.start("events", "-f", "-n", "0", "--node", "web2", "-o", "json")
	yml := s.start("events", "-f", "-n", "1", "-o", "yaml")
	all.stdout.shows(t, "2026-03-01 11:58:40  node_unfrozen    web3  bob@desk\n")
	yml.stdout.shows(t, "- stream_id: 1772366320999-0\n")
	s.must("freeze", "web1", "--reason", "\x1b[2J")
	all.stdout.shows(t, "  node_frozen      web1  alice@desk  \\x1b[2J\n")
	yml.stdout.shows(t, "  node_id: web1\n")
	s.must("unfreeze", "web2") // whether one looked already or not, it sees this only if it follows
	all.stdout.shows(t, "  web2  alice@desk\n")
	serverstest.Eventually(t, soon, func() error {
		if !strings.Contains(one.stdout.String(), `"node_id":"web2"`) {
			s.must("freeze", "web2")
			s.must("unfreeze", "web2")
			return fmt.Errorf("nothing in %q", one.stdout.String())
		}
		return nil
	})
	for _, r := range []*running{all, one, yml} {
		r.interrupt()
		r.wantEnd(t, 0)
		if r.stderr.String() != "" {
			t.Error(r.stderr.String())
		}
	}
	if got := one.stdout.String(); strings.Contains(got, "web1") || !strings.HasPrefix(got, `{"stream_id":`) {
		t.Error(got)
	}
}

// A node that somebody unfreezes meanwhile is not drained, and the others are.
func TestFreezeWaitOfANodeThatIsUnfrozen(t *testing.T) {
	s := newSite(t)
	s.node("web1", true)
	s.node("web2", true)
	s.ack(pool.Ack{ID: "lb1", Rev: 5})
	r := s.start("freeze", "web1", "web2", "--wait")
	r.stderr.shows(t, "waiting for lb1: still serves rev 5\n")
	if _, err := s.p.Unfreeze(t.Context(), "web2", "bob\x1b[2J"); err != nil {
		t.Fatal(err)
	}
	s.ack(pool.Ack{ID: "lb1", Rev: late})
	r.wantEnd(t, 1)
	if got := r.stderr.String(); !strings.HasSuffix(got, "\nbbctl: web2: not drained: web2 was unfrozen meanwhile (by bob\\x1b[2J)\n") {
		t.Error(got)
	}
	if got := seconds.ReplaceAllString(r.stdout.String(), "T"); got != "web1: frozen\nweb2: frozen\nweb1: drained, no load balancer sends to it any more (T)\n" {
		t.Error(got)
	}
}

// While it gets requests load balancers are not done with it: the others are waited for all the same.
func TestFreezeWaitOfANodeThatIsUnfrozenAndBusy(t *testing.T) {
	s := newSite(t)
	s.node("web1", true)
	s.node("web2", true)
	busy := func(on map[string]int) { s.ack(pool.Ack{ID: "lb1", Rev: late, Apply: "live", Live: "lua", Busy: on}) }
	busy(map[string]int{"web1": 1, "web2": 1})
	r := s.start("freeze", "web1", "web2", "--wait", "--deadline", "5m")
	r.stderr.shows(t, "waiting for lb1: 1 request under way on web1, 1 request under way on web2\n")
	if _, err := s.p.Unfreeze(t.Context(), "web1", "bob"); err != nil {
		t.Fatal(err)
	}
	r.stderr.shows(t, "\nbbctl: web1: not drained: web1 was unfrozen meanwhile (by bob)\n")
	r.stderr.shows(t, "\nbbctl: waiting for lb1: 1 request under way on web2\n")
	busy(map[string]int{"web1": 3})
	r.wantEnd(t, 1)
	if got := seconds.ReplaceAllString(r.stdout.String(), "T"); got != "web1: frozen\nweb2: frozen\nweb2: drained, no load balancer sends to it any more (T)\n" {
		t.Error(got)
	}
}

// A Redis that restarts ends nothing: it goes on from where it was.
func TestFollowOverARestart(t *testing.T) {
	s := newSite(t, "--appendonly", "yes")
	s.node("web1", true)
	s.must("freeze", "web1")
	r := s.start("events", "--follow")
	r.stdout.shows(t, "  node_frozen      web1  alice@desk\n")
	s.stop()
	r.stderr.shows(t, "bbctl: redis is away, this goes on when it is back: redis at "+s.srv.Addr()+": follow events: ")
	if err := s.srv.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.must("unfreeze", "web1")
	r.stdout.shows(t, "  node_unfrozen    web1  alice@desk\n")
	r.stderr.shows(t, "bbctl: redis is back\n")
	r.interrupt()
	r.wantEnd(t, 0)
	if out, said := r.stdout.String(), r.stderr.String(); strings.Count(out, "\n") != 2 || strings.Count(said, "\n") != 2 {
		t.Errorf("told twice, or too much:\n%s%s", out, said)
	}
}
