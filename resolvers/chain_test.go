package resolvers

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-multierror"
	"go.uber.org/goleak"

	"github.com/bazbeans/bazbeans/pool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func nodes(ids ...string) []pool.Node {
	ns := make([]pool.Node, len(ids))
	for i, id := range ids {
		ns[i].ID = id
	}
	return ns
}

func at(addr string) Answer { return Answer{Endpoint: Endpoint{Addr: netip.MustParseAddr(addr)}} }

// asked is a resolver that gives fixed answers and notes what it was asked.
type asked struct {
	answers Answers
	err     error
	ids     []string
}

func (a *asked) Resolve(_ context.Context, nodes []pool.Node) (Answers, error) {
	a.ids = nil
	for _, n := range nodes {
		a.ids = append(a.ids, n.ID)
	}
	return a.answers, a.err
}

func newChain(t *testing.T, links ...Link) *Chain {
	t.Helper()
	c, err := NewChain(Door{}, links...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func resolve(t *testing.T, c *Chain, ids ...string) map[string]Resolution {
	t.Helper()
	got, _ := c.Resolve(t.Context(), nodes(ids...))
	if len(got) != len(ids) {
		t.Fatalf("%d resolutions for %d nodes", len(got), len(ids))
	}
	return got
}

func TestChainAsksInOrderForWhatIsMissing(t *testing.T) {
	first := &asked{answers: Answers{"a": at("10.0.0.1"), "not-asked": at("10.0.0.9")}}
	second := &asked{answers: Answers{"a": at("10.9.9.9"), "b": at("::ffff:10.0.0.2")}}
	got := resolve(t, newChain(t, Link{Name: "one", Resolver: first}, Link{Name: "two", Resolver: second}), "a", "b", "c")
	if a := got["a"]; a.Addr.String() != "10.0.0.1" || a.Link != "one" {
		t.Errorf("a: %+v", a)
	}
	if b := got["b"]; b.Addr.String() != "10.0.0.2" || b.Link != "two" {
		t.Errorf("b: %+v", b)
	}
	if c := got["c"]; c.Found() || c.Err == nil {
		t.Errorf("c: %+v", c)
	}
	if !slices.Equal(second.ids, []string{"b", "c"}) {
		t.Errorf("the second was asked for %v", second.ids)
	}
}

func TestCannotKnowKeepsTheLastAddress(t *testing.T) {
	first := &asked{answers: Answers{"a": at("10.0.0.1"), "b": at("10.0.0.2")}}
	second := &asked{answers: Answers{"a": at("10.9.9.9"), "new": at("10.9.9.8")}}
	c := newChain(t, Link{Name: "one", Resolver: first}, Link{Name: "two", Resolver: second})
	resolve(t, c, "a", "b")
	first.answers, first.err = Answers{"a": {Err: errors.New("time-out")}}, nil
	got := resolve(t, c, "a", "b")
	if a := got["a"]; a.Addr.String() != "10.0.0.1" || !a.Stale || a.Link != "one" || !strings.Contains(a.Err.Error(), "time-out") {
		t.Errorf("a: %+v", a)
	}
	if b := got["b"]; b.Found() || b.Stale {
		t.Errorf("b is no longer its own: %+v", b)
	}
	// A whole link that fails is "cannot know" for each; one never known goes on to the next link.
	first.answers, first.err = nil, errors.New("down")
	all, err := c.Resolve(t.Context(), nodes("a", "new", "none"))
	var many *multierror.Error
	if !errors.As(err, &many) || !strings.Contains(err.Error(), "one: down") {
		t.Errorf("error %v", err)
	}
	if a := all["a"]; !a.Stale || a.Addr.String() != "10.0.0.1" {
		t.Errorf("a: %+v", a)
	}
	if n := all["new"]; n.Addr.String() != "10.9.9.8" || n.Stale {
		t.Errorf("new: %+v", n)
	}
	if n := all["none"]; n.Found() || n.Err == nil {
		t.Errorf("none: %+v", n)
	}
	// on_error: next asks on though an address is at hand.
	c.links[0].Next = true
	if a := resolve(t, c, "a")["a"]; a.Addr.String() != "10.9.9.9" || a.Stale {
		t.Errorf("with next: %+v", a)
	}
}

// What a link has taken back is not last known any more: it may be another host's by the time that the link fails.
func TestAnAddressTakenBackDoesNotReturn(t *testing.T) {
	first := &asked{answers: Answers{"a": at("10.0.0.1"), "b": at("10.0.0.2")}}
	second := &asked{}
	c := newChain(t, Link{Name: "one", Resolver: first}, Link{Name: "two", Resolver: second})
	c.Recall(map[string]Endpoint{"c": at("10.0.0.3").Endpoint})
	resolve(t, c, "a", "b")
	first.answers, second.err = nil, errors.New("down")
	if b := resolve(t, c, "b")["b"]; b.Addr.String() != "10.0.0.2" || !b.Stale {
		t.Errorf("the second might have it: %+v", b)
	}
	second.err = nil
	resolve(t, c, "a", "c")
	first.err = errors.New("down")
	got := resolve(t, c, "a", "b", "c")
	for _, id := range []string{"a", "c"} {
		if r := got[id]; r.Found() || r.Stale || r.Err == nil {
			t.Errorf("%s was nobody's: %+v", id, r)
		}
	}
	if b := got["b"]; b.Addr.String() != "10.0.0.2" || !b.Stale {
		t.Errorf("nobody has taken it back: %+v", b)
	}
}

func TestRefusedEndsTheSearch(t *testing.T) {
	first := &asked{answers: Answers{"a": at("127.0.0.1"), "b": {Err: &RefusedError{Why: "unix socket"}}, "c": {}}}
	second := &asked{answers: Answers{"a": at("10.0.0.1"), "b": at("10.0.0.2"), "c": at("10.0.0.3")}}
	got := resolve(t, newChain(t, Link{Name: "one", Resolver: first}, Link{Name: "two", Resolver: second}), "a", "b", "c")
	for id, r := range got {
		if r.Found() || !IsRefused(r.Err) || r.Link != "one" {
			t.Errorf("%s: %+v", id, r)
		}
	}
	if second.ids != nil {
		t.Errorf("the second was asked for %v", second.ids)
	}
}

// learner is a resolver that learns between two calls, and is to be closed.
type learner struct {
	asked
	changed chan struct{}
	closed  bool
}

func (l *learner) Changed() <-chan struct{} { return l.changed }
func (l *learner) Close() error             { l.closed = true; return errors.New("stuck") }

func TestWatchAndClose(t *testing.T) {
	l := &learner{changed: make(chan struct{}, 1)}
	c := newChain(t, Link{Name: "plain", Resolver: &asked{}}, Link{Name: "learner", Resolver: l})
	ctx, cancel := context.WithCancel(t.Context())
	heard, ended := make(chan bool), make(chan bool)
	go func() { c.Watch(ctx, func() { heard <- true }); close(ended) }()
	l.changed <- struct{}{}
	<-heard
	cancel()
	<-ended
	if err := c.Close(); !l.closed || err == nil || !strings.Contains(err.Error(), "close learner: stuck") {
		t.Errorf("closed %t, %v", l.closed, err)
	}
}

func TestPanicIsCannotKnow(t *testing.T) {
	c := newChain(t, Link{Name: "bad", Resolver: Func(func(context.Context, []pool.Node) (Answers, error) { panic("oops") })})
	if _, err := c.Resolve(t.Context(), nodes("a")); err == nil || !strings.Contains(err.Error(), "oops") {
		t.Errorf("error %v", err)
	}
}

// A link that cannot know stands for what it said itself; what a later link said is that one's to renew.
func TestCannotKnowAsksTheLinkThatKnew(t *testing.T) {
	first := &asked{answers: Answers{}}
	second := &asked{answers: Answers{"a": at("10.0.0.1"), "b": at("10.0.0.2")}}
	c := newChain(t, Link{Name: "one", Resolver: first}, Link{Name: "two", Resolver: second})
	resolve(t, c, "a", "b")
	first.err = errors.New("down")
	second.answers = Answers{"a": at("10.0.0.3")}
	got := resolve(t, c, "a", "b")
	if a := got["a"]; a.Addr.String() != "10.0.0.3" || a.Link != "two" || a.Stale {
		t.Errorf("a: %+v", a)
	}
	// Nobody knows b now, and the first might: the last address stays.
	if b := got["b"]; b.Addr.String() != "10.0.0.2" || b.Link != "two" || !b.Stale {
		t.Errorf("b: %+v", b)
	}
}

func TestRecall(t *testing.T) {
	first := &asked{err: errors.New("down")}
	second := &asked{answers: Answers{"b": at("10.0.0.2")}}
	c := newChain(t, Link{Name: "one", Resolver: first}, Link{Name: "two", Resolver: second})
	c.Recall(map[string]Endpoint{"a": at("10.9.9.1").Endpoint, "b": at("10.9.9.2").Endpoint, "local": at("127.0.0.1").Endpoint})
	got := resolve(t, c, "a", "b", "local")
	if a := got["a"]; a.Addr.String() != "10.9.9.1" || !a.Stale || a.Link != "" || a.Err == nil {
		t.Errorf("a: %+v", a)
	}
	if b := got["b"]; b.Addr.String() != "10.0.0.2" || b.Stale {
		t.Errorf("b: %+v", b)
	}
	if l := got["local"]; l.Found() {
		t.Errorf("what the door refuses now: %+v", l)
	}
	first.err = nil
	if a := resolve(t, c, "a")["a"]; a.Found() {
		t.Errorf("it is nobody's: %+v", a)
	}
}

func TestSlowLinksLeaveTheOthersTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var mu sync.Mutex // the deaf one gives nothing back that could order things
		var left []time.Duration
		taken := func() []time.Duration {
			mu.Lock()
			defer mu.Unlock()
			was := left
			left = nil
			return was
		}
		link := func(name string, takes time.Duration, heeds bool) Link {
			return Link{Name: name, Resolver: Func(func(ctx context.Context, _ []pool.Node) (Answers, error) {
				end, _ := ctx.Deadline()
				mu.Lock()
				left = append(left, time.Until(end).Round(time.Millisecond))
				mu.Unlock()
				if !heeds {
					ctx = context.Background()
				}
				select {
				case <-ctx.Done():
					return Answers{name: at("10.0.0.1")}, ctx.Err() // what it has
				case <-time.After(takes):
					return nil, nil
				}
			})}
		}
		c := newChain(t, link("quick", 100*time.Millisecond, true), link("slow", time.Hour, true), link("deaf", 2*time.Second, false), link("last", 0, true))
		observed := map[string]time.Duration{}
		c.Observe = func(name string, took time.Duration, _ map[Outcome]int) { observed[name] = took }
		got, err := c.Resolve(t.Context(), nodes("slow", "x"))
		if took := time.Since(began); took > Timeout {
			t.Errorf("the chain took %s", took)
		}
		// A tenth of each share is for returning in.
		if want := []time.Duration{225 * time.Millisecond, 270 * time.Millisecond, 284 * time.Millisecond, 284 * time.Millisecond}; !slices.Equal(taken(), want) {
			t.Errorf("the links had other times than %v", want)
		}
		if !got["slow"].Found() || got["x"].Err == nil || err == nil || !strings.Contains(err.Error(), "deaf: it did not return within 315ms") {
			t.Errorf("%+v, %v", got, err)
		}
		if observed["quick"] != 100*time.Millisecond || observed["slow"] != 270*time.Millisecond || observed["last"] != 0 {
			t.Errorf("observed %v", observed)
		}
		// The deaf one still runs: it costs no time, and is not called a second time.
		_, err = c.Resolve(t.Context(), nodes("x"))
		if n := len(taken()); n != 3 || err == nil || !strings.Contains(err.Error(), "deaf: it still works on an earlier question") {
			t.Errorf("%d were asked, %v", n, err)
		}
		time.Sleep(time.Minute)
		if _, err = c.Resolve(t.Context(), nodes("x")); len(taken()) != 4 {
			t.Errorf("it is not asked again: %v", err)
		}
		time.Sleep(time.Minute) // until it has returned
	})
}

func TestACancelledLookEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, Link{Name: "slow", Resolver: Func(func(ctx context.Context, _ []pool.Node) (Answers, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		began := time.Now()
		got, err := c.Resolve(ctx, nodes("a"))
		if took := time.Since(began); took != 10*time.Millisecond || !errors.Is(err, context.DeadlineExceeded) || got["a"].Found() {
			t.Errorf("%s, %v, %+v", took, err, got)
		}
	})
}

func TestObserve(t *testing.T) {
	first := &asked{answers: Answers{"a": at("10.0.0.1"), "b": at("127.0.0.1"), "c": {Err: errors.New("time-out")}}}
	second := &asked{answers: Answers{"c": at("10.0.0.3"), "d": at("10.0.0.4")}, err: errors.New("half of it is missing")}
	c := newChain(t, Link{Name: "one", Resolver: first}, Link{Name: "two", Resolver: second})
	seen := map[string]map[Outcome]int{}
	c.Observe = func(link string, _ time.Duration, n map[Outcome]int) { seen[link] = n }
	// Of each link what went wrong is told once, also if it concerns no node.
	_, err := c.Resolve(t.Context(), nodes("a", "b", "c", "d"))
	if err == nil || err.Error() != "one: c: time-out; two: half of it is missing" {
		t.Errorf("error %v", err)
	}
	want := map[string]map[Outcome]int{"one": {Found: 1, Refused: 1, CannotKnow: 1, NotMine: 1}, "two": {Found: 2}}
	if !maps.EqualFunc(seen, want, maps.Equal) {
		t.Errorf("%v", seen)
	}
}
