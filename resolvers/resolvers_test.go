package resolvers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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

func TestDoor(t *testing.T) {
	nets, err := ParseNetworks([]string{"127.0.1.0/24", "fe80::/10", "10.0.0.7"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		addr         string
		open, listed bool
	}{
		{"10.0.0.7", true, true}, {"10.0.0.8", true, false}, {"fd00::1", true, false}, {"8.8.8.8", true, false},
		{"127.0.0.1", false, false}, {"127.0.1.5", false, true}, {"::1", false, false}, {"::ffff:127.0.1.5", false, true},
		{"169.254.169.254", false, false}, {"fe80::1", false, true}, {"fe80::1%eth0", false, false},
		{"0.0.0.0", false, false}, {"::", false, false}, {"224.0.0.1", false, false}, {"ff02::1", false, false}, {"255.255.255.255", false, false},
	} {
		a := netip.MustParseAddr(c.addr)
		if err := (Door{}).Check(a); (err == nil) != c.open || err != nil && !IsRefused(err) {
			t.Errorf("%s, no list: %v", c.addr, err)
		}
		if err := (Door{Networks: nets}).Check(a); (err == nil) != c.listed {
			t.Errorf("%s, listed: %v", c.addr, err)
		}
	}
	for _, bad := range []string{"10.0.0.0/33", "x", "fe80::1%eth0"} {
		if _, err := ParseNetworks([]string{bad}); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

type ips map[string]string

func (m ips) NodeIPs(_ context.Context, ids []string) (map[string]string, error) {
	got := map[string]string{}
	for _, id := range ids {
		if ip, ok := m[id]; ok {
			got[id] = ip
		}
	}
	return got, nil
}

func TestRedis(t *testing.T) {
	ours := pool.Node{ID: "ours", Agent: "1.0", Address: netip.MustParseAddr("10.0.0.1")}
	r := NewRedis(ips{"ours": "10.6.6.6", "py": "10.0.0.2", "bad": "unix:/var/run/docker.sock", "dns": "localhost", "old": "010.0.0.1"})
	got, err := r.Resolve(t.Context(), append(nodes("py", "bad", "dns", "old", "none"), ours))
	if err != nil {
		t.Fatal(err)
	}
	if got["ours"].Addr != ours.Address || got["py"].Addr.String() != "10.0.0.2" {
		t.Errorf("%+v", got)
	}
	for _, id := range []string{"bad", "dns", "old"} {
		if !IsRefused(got[id].Err) {
			t.Errorf("%s: %+v", id, got[id])
		}
	}
	if _, ok := got["none"]; ok || len(got) != 5 {
		t.Errorf("%+v", got)
	}
}

func TestStatic(t *testing.T) {
	s, err := NewStatic(map[string]string{"a": "10.0.0.1", "b": "[fd00::1]:81", "c": "10.0.0.3:80"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Resolve(t.Context(), nodes("a", "b", "d"))
	if err != nil || fmt.Sprint(got) != "map[a:{{10.0.0.1 0 0} <nil>} b:{{fd00::1 81 0} <nil>}]" {
		t.Errorf("%v, %v", got, err)
	}
	_, err = NewStatic(map[string]string{"ok": "10.0.0.1", "x": "localhost", "y": "10.0.0.1:0", "bad id": "10.0.0.2"})
	for _, want := range []string{`"x"`, `"y"`, `"bad id"`} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), `"ok"`) {
			t.Errorf("error does not name %s: %v", want, err)
		}
	}
}

func TestStaticFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nodes.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := NewStaticFile(file); err == nil {
		t.Fatal("a missing file is an error at the start")
	}
	write("a: 10.0.0.1\n")
	s, err := NewStaticFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := func(addr string, ok bool) {
		t.Helper()
		got, err := s.Resolve(t.Context(), nodes("a"))
		if got["a"].Addr.String() != addr || (err == nil) != ok {
			t.Errorf("got %v, %v; want %s", got, err, addr)
		}
	}
	want("10.0.0.1", true)
	write(`{"a": "10.0.0.22"}`)
	want("10.0.0.22", true)
	write("a: [")
	want("10.0.0.22", false)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	want("10.0.0.22", false)
	write("a: 10.0.0.3")
	want("10.0.0.3", true)
}
