package dev

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/lbd"
	"github.com/bazbeans/bazbeans/pool"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// sample is a site of three nodes that has served for a minute.
func sample() *view {
	v := &view{at: noon, up: time.Minute, rate: 200, median: 400 * time.Microsecond, slowest: 2 * time.Millisecond}
	v.load = load.Counts{Outcome: load.Outcome{Sent: 12000, OK: 12000, Repeated: 1}}
	applied := noon.Add(-time.Minute)
	v.lb = lbd.Status{Wanted: 1, Running: 1, Nginx: lbd.NginxStatus{Running: true},
		LastApply: lbd.ApplyStatus{At: &applied, Step: "verify", DurationMS: 120.4}}
	for _, id := range []string{"web1", "web2", "web3"} {
		v.nodes = append(v.nodes, nodeView{id: id, addr: "127.0.1." + id[3:] + ":8000", state: pool.Active, rate: 200. / 3})
		v.lb.Nodes = append(v.lb.Nodes, lbd.NodeStatus{ID: id, State: "active", Weight: 1})
	}
	return v
}

// take has lbd take the nodes from number n on out of Nginx, as it looks when that is proven.
func take(v *view, n int) {
	at := v.at.Add(-time.Second)
	v.lb.Wanted, v.lb.Running = v.lb.Wanted+1, v.lb.Running+1
	v.lb.LastApply = lbd.ApplyStatus{At: &at, Step: "verify", DurationMS: 99.6}
	for i := n; i < len(v.lb.Nodes); i++ {
		v.lb.Nodes[i].State = "frozen"
	}
}

func TestNews(t *testing.T) {
	for _, c := range []struct {
		change func(*view)
		want   []string
	}{
		{func(*view) {}, nil},
		{func(v *view) { v.nodes[1].rate, v.load.Sent, v.load.Repeated = 3, 20000, 5 }, nil},
		{func(v *view) { v.nodes[1].state, v.nodes[1].why = pool.Frozen, "by a@b: new\x1b[2Jkernel" },
			[]string{`web2 frozen by a@b: new\x1b[2Jkernel`}},
		{func(v *view) { v.nodes[0].state, v.nodes[0].why = pool.Unhealthy, "cpu 99 %" }, []string{"web1 is unhealthy: cpu 99 %"}},
		{func(v *view) { v.nodes[0].state = pool.Inactive }, []string{"web1 is inactive"}},
		{func(v *view) { v.nodes[0].state = "" }, []string{"web1 is not in the pool"}},
		{func(v *view) { v.nodes[2].killed = true }, []string{"web3 killed: its connections are reset, its agent is silent"}},
		{func(v *view) { v.nodes[2].state, v.nodes[2].why = pool.Dead, "no heartbeat" }, []string{"web3 is dead: its heartbeat has expired"}},
		{func(v *view) { take(v, 2); v.nodes[2].state = pool.Inactive },
			[]string{"web3 is inactive", "Nginx reloaded: -web3 in 100 ms (step verify)"}},
		{func(v *view) { take(v, 3) }, []string{"Nginx reloaded: the same nodes in 100 ms (step verify)"}},
		{func(v *view) { take(v, 2); v.lb.Wanted++ }, nil}, // the rest is to follow
		{func(v *view) { take(v, 2); v.lb.LastApply.Step, v.lb.LastApply.Error = "test", "no\nbrace" }, []string{`lbd stopped at test: no\nbrace`}},
		{func(v *view) { v.lb.Guard.Why = []string{"app_backend: 2 of 3 nodes were lost"} }, []string{"lbd's guard: app_backend: 2 of 3 nodes were lost"}},
		{func(v *view) { v.lb.Nginx = lbd.NginxStatus{Error: "no pid file"} }, []string{"Nginx is not running: no pid file"}},
		{func(v *view) { v.load.Failed, v.load.ByReason = 3, map[string]int64{"status 502": 2, "closed": 1} },
			[]string{"3 requests failed: closed: 1, status 502: 2"}},
		{func(v *view) { v.err, v.nodes[0].state = errors.New("redis is away"), "" }, []string{"this picture is not complete: redis is away"}},
	} {
		var tell teller
		if news := tell.tell(sample()); news != nil {
			t.Errorf("the first view is news: %q", news)
		}
		v := sample()
		v.at = v.at.Add(time.Second)
		c.change(v)
		if got := tell.tell(v); !slices.Equal(got, c.want) {
			t.Errorf("%q, want %q", got, c.want)
		}
		if got := tell.tell(v); got != nil {
			t.Errorf("%q is told a second time", got)
		}
	}
}

func TestNewsOfManyFailuresIsRare(t *testing.T) {
	var tell teller
	tell.tell(sample())
	var all []string
	for i := range 60 { // for 15 s
		v := sample()
		v.at = v.at.Add(time.Duration(i) * redraw)
		v.load.Failed, v.load.ByReason = int64(10*(i+1)), map[string]int64{"timeout": int64(10 * (i + 1))}
		all = append(all, tell.tell(v)...)
	}
	if want := "10 requests failed: timeout: 10|200 requests failed: timeout: 200|200 requests failed: timeout: 200"; strings.Join(all, "|") != want {
		t.Errorf("%q, want %q", strings.Join(all, "|"), want)
	}
}

func TestNewsGoesOnAfterTrouble(t *testing.T) {
	var tell teller
	tell.tell(sample())
	broken := &view{err: errors.New("away"), nodes: sample().nodes}
	tell.tell(broken)
	v := sample()
	v.nodes[1].state = pool.Frozen
	if got := tell.tell(v); !slices.Equal(got, []string{"web2 frozen "}) {
		t.Errorf("%q", got)
	}
	if got := tell.tell(broken); len(got) != 1 {
		t.Errorf("trouble that comes back: %q", got)
	}
}
