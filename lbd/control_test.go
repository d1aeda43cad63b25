package lbd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/lbd/live"
	"github.com/bazbeans/bazbeans/lbd/live/names"
	"github.com/bazbeans/bazbeans/pool"
)

// flush is what a restart of a Redis that keeps nothing looks like.
func (f *fakePool) flush() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes, f.rev = map[string]pool.Node{}, 0
}

// An empty pool is held without end, until an operator on this host says otherwise.
func TestApprove(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		var out bytes.Buffer
		if err := approve(t.Context(), &l.cfg, "", &out); err == nil || !strings.Contains(err.Error(), "nothing is held") {
			t.Fatalf("%v", err)
		}
		settled(f)
		f.flush()
		time.Sleep(10 * time.Minute)
		if got := e.serving(); strings.Count(got, "web") != 10 {
			t.Fatalf("served: %s", got)
		}
		err := approve(t.Context(), &l.cfg, "0123456789ab", &out)
		var wrong *cli.Error
		if !errors.As(err, &wrong) || wrong.Code != cli.Refused || !strings.Contains(err.Error(), "not 0123456789ab any more") {
			t.Fatalf("%v", err)
		}
		out.Reset()
		if err := approve(t.Context(), &l.cfg, "", &out); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := e.serving(); got != "" {
			t.Errorf("served after the approval: %s\n%s", got, &out)
		}
		if !strings.Contains(out.String(), "app_backend: 10 of 10 nodes went") || !strings.Contains(out.String(), "would go: web0 web1 ") {
			t.Errorf("printed %s", &out)
		}
		if a := f.lastAck(); len(a.Held) != 0 {
			t.Errorf("ack %+v", a)
		}
	})
}

// All that is approved is printed, however much it is.
func TestApprovePrintsAllThatWouldGo(t *testing.T) {
	var nodes []string
	for i := range 1000 {
		nodes = append(nodes, fmt.Sprintf("web%04d", i))
	}
	var out bytes.Buffer
	memory{Held: map[string]hold{"app": {Why: "too many went", Nodes: nodes}}}.print(&out)
	if !strings.Contains(out.String(), "would go: web0000 ") || !strings.HasSuffix(out.String(), " web0998 web0999\n") {
		t.Errorf("printed …%s", out.String()[out.Len()-40:])
	}
}

// An approval covers what it names and no more, and not for long.
func TestApprovalIsNarrow(t *testing.T) {
	now := time.Now()
	a := &approval{Nodes: map[string][]string{"app": {"a", "b"}}, Until: now.Add(time.Minute)}
	nodes, named := a.of("app", now)
	if !named || !nodes("a") || nodes("c") {
		t.Errorf("named %v, a %v, c %v", named, nodes("a"), nodes("c"))
	}
	for name, when := range map[string]time.Time{"over": now.Add(2 * time.Minute), "from a clock that is ahead": now.Add(-time.Hour)} {
		if nodes, named := a.of("app", when); named || nodes("a") {
			t.Errorf("%s: it counts", name)
		}
	}
	if nodes, named := a.of("other", now); named || nodes("a") {
		t.Error("it counts for another upstream")
	}

	var h history
	h.add(noon, guardDefaults.Window, servers("a b c"))
	q := facing("a b c", "a b c")
	q.approved = in("a b")
	if v := judge(guardDefaults, noon.Add(time.Second), &h, nil, q); keptIDs(v) != "a b c" {
		t.Errorf("one more went than was approved: kept %q", keptIDs(v))
	}
	q.approved = in("a b c")
	if v := judge(guardDefaults, noon.Add(time.Second), &h, nil, q); len(v.kept) > 0 || !v.believed {
		t.Errorf("all approved: %+v", v)
	}
}

// A pinned generation is served whatever the pool says, and a freeze is not said to be done meanwhile.
func TestRollback(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		never := func(Config) (*LB, error) { return nil, errors.New("a second lbd is made") }
		f.set("web1", "web2", "web3")
		time.Sleep(2 * time.Second)
		f.set("-web3")
		time.Sleep(2 * time.Second)
		var out bytes.Buffer
		if err := rollback(t.Context(), &l.cfg, command{}, "", never, &out); err != nil {
			t.Fatalf("%v\n%s", err, &out)
		}
		if got := e.serving(); got != "web1,web2,web3" {
			t.Fatalf("served: %s\n%s", got, &out)
		}
		f.set("-web2")
		time.Sleep(20 * time.Second)
		if got := e.serving(); got != "web1,web2,web3" {
			t.Errorf("served: %s", got)
		}
		// web3, too, which was drained before, is served again: no revision holds.
		if a := f.lastAck(); a.Rev != 0 || !strings.Contains(a.Error, "is pinned by") {
			t.Errorf("ack %+v, rev %d", a, f.rev)
		}
		if s, _ := l.board.read(&l.cfg); s.Pinned == nil || len(s.Problems) == 0 {
			t.Errorf("status %+v", s)
		}
		out.Reset()
		if err := rollback(t.Context(), &l.cfg, command{list: true}, "", never, &out); err != nil || !strings.Contains(out.String(), "pinned by") {
			t.Errorf("%v\n%s", err, &out)
		}
		if err := rollback(t.Context(), &l.cfg, command{}, "99", never, &out); err == nil || !strings.Contains(err.Error(), "generation 99 is not kept") {
			t.Errorf("%v", err)
		}
		if err := rollback(t.Context(), &l.cfg, command{end: true}, "", never, &out); err != nil {
			t.Fatal(err)
		}
		if got := e.serving(); got != "web1" {
			t.Errorf("served after the end: %s", got)
		}
		if a := f.lastAck(); a.Rev != f.rev || a.Error != "" {
			t.Errorf("ack %+v, rev %d", a, f.rev)
		}
		// It is done when it is in place, and that has to wait for min_interval now.
		if err := rollback(t.Context(), &l.cfg, command{}, "1", never, &out); err != nil {
			t.Fatal(err)
		}
		if got := e.serving(); got != "" {
			t.Errorf("served after a second rollback: %s", got)
		}
	})
}

// When more goes than was approved, all stay, and the command says so.
func TestApproveWhenMoreGoes(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		settled(f)
		f.change("web9", func(n *pool.Node) { n.Expires = time.Now().Add(time.Hour) })
		time.Sleep(45 * time.Second) // the others expire, and are held
		synctest.Wait()              // no look is under way
		before, _, err := readMemory(l.cfg.StateDir)
		if err != nil || len(before.holds()["app_backend"]) != 9 {
			t.Fatalf("held %v, %v", before.holds(), err)
		}
		f.change("web9", func(n *pool.Node) { n.Expires = time.Now() })
		f.wakes <- pool.Wake{Event: &pool.Event{Rev: 1}}
		file := approvalFile(l.cfg.StateDir)
		if err := file.write(&approval{Nodes: before.holds(), Until: time.Now().Add(time.Minute)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := e.serving(); strings.Count(got, "web") != 10 {
			t.Errorf("served: %s", got)
		}
		m, _, err := readMemory(l.cfg.StateDir)
		if more := beyond(m.holds(), before.holds()); err != nil || words(more) != "app_backend: web9" || !overlap(m.holds(), before.holds()) {
			t.Errorf("beyond the approval %v, %v", more, err)
		}
	})
}

// A generation that can't be had, or has not all of today's upstreams, is not gone back to; nor is what the pool says
// applied behind a pin.
func TestPinThatCannotBeHad(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		never := func(Config) (*LB, error) { return nil, errors.New("a second lbd is made") }
		f.set("web1", "web2", "web3")
		time.Sleep(2 * time.Second)
		f.set("-web3")
		time.Sleep(2 * time.Second)
		cfg := l.cfg
		cfg.Upstreams = append([]UpstreamConfig{{Name: "other", Output: "/x"}}, cfg.Upstreams...)
		var out bytes.Buffer
		if err := rollback(t.Context(), &cfg, command{}, "", never, &out); err == nil || !strings.Contains(err.Error(), "has no upstream other") {
			t.Errorf("%v", err)
		}
		for name, text := range map[string]string{"of no generation": `{"generation":77,"by":"ann"}`, "cut off": `{"gener`} {
			if err := os.WriteFile(pinFile(l.cfg.StateDir).path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			f.set("-web2")
			time.Sleep(20 * time.Second)
			if got := e.serving(); got != "web1,web2" {
				t.Errorf("%s: served %s", name, got)
			}
			if s, _ := l.board.read(&l.cfg); !strings.Contains(strings.Join(s.Problems, "\n"), "can't be had") {
				t.Errorf("%s: problems %q", name, s.Problems)
			}
		}
		if err := pinFile(l.cfg.StateDir).remove(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if got := e.serving(); got != "web1" {
			t.Errorf("without the pin: %s", got)
		}
	})
}

// A generation of nginx.live: resolve is not gone back to while lbd does not answer Nginx's questions: Nginx would have
// nobody to send to.
func TestPinOfNames(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		f.set("web1", "web2")
		time.Sleep(2 * time.Second)
		kept, err := l.archive.list()
		if err != nil || len(kept) == 0 {
			t.Fatalf("%v, %v", kept, err)
		}
		g := kept[0]
		peers := []live.Peer{{ID: "web1", Addr: netip.MustParseAddrPort("10.0.0.1:8000"), Weight: 1}}
		g.N, g.Verified = 1, true
		g.Upstreams[0].Text = []byte("upstream app_backend {\n    server " + names.Server("app_backend") + ";\n    " +
			names.Block(netip.MustParseAddrPort("127.0.0.1:9153"), live.Upstream{Name: "app_backend", Peers: peers}) + "\n}\n")
		if err := l.archive.put(g, 0); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		never := func(Config) (*LB, error) { return nil, errors.New("a second lbd is made") }
		if err := rollback(t.Context(), &l.cfg, command{}, "1", never, &out); err == nil || !strings.Contains(err.Error(), "nginx.live: resolve") {
			t.Errorf("rollback: %v", err)
		}
		// What the config says is one thing, what this Nginx can do another; and an engine may be given up while it is pinned.
		cfg := l.cfg
		cfg.Nginx.Apply, cfg.Nginx.Live = "live", "auto"
		err = rollback(t.Context(), &cfg, command{}, "1", never, &out)
		if wrong := (*cli.Error)(nil); !errors.As(err, &wrong) || wrong.Code != cli.Deadline || !strings.Contains(err.Error(), "can't be had") {
			t.Errorf("rollback with resolve in the config: %v", err)
		}
		if got := e.serving(); got != "web1,web2" {
			t.Errorf("served: %s", got)
		}
	})
}

// The last five verified generations stay, the pinned one, and one that nobody could verify.
func TestArchive(t *testing.T) {
	a := archiveIn(t.TempDir())
	for n := range int64(9) {
		if err := a.put(&saved{generation: generation{N: n + 1}, Verified: true}, 2); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.put(&saved{generation: generation{N: 10}}, 2); err != nil {
		t.Fatal(err)
	}
	list, err := a.list()
	var numbers []int64
	for _, g := range list {
		numbers = append(numbers, g.N)
	}
	if want := "[9 8 7 6 5 2]"; err != nil || fmt.Sprint(numbers) != want {
		t.Errorf("%v, %v, want %s", numbers, err, want)
	}
	if g, err := a.newest(); err != nil || g.N != 10 || g.Verified {
		t.Errorf("newest %+v, %v", g, err)
	}
	// One that can't be read is named, and the others are there.
	for _, name := range []string{"9.json", "installed.json"} {
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte(`{"generation":`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if g, err := a.newest(); err == nil || !strings.Contains(err.Error(), "9.json") || g == nil || g.N != 8 {
		t.Errorf("newest %+v, %v", g, err)
	}
}

// With Redis away from the start Nginx is kept at what it served last, also when somebody has touched it.
func TestStandsWithoutRedis(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		f.set("web1", "web2")
		time.Sleep(2 * time.Second)
		f.mu.Lock()
		f.away = errors.New("connection refused")
		f.mu.Unlock()
		e.mu.Lock()
		e.live = "somebody's"
		e.mu.Unlock()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if got := e.serving(); got != "web1,web2" {
			t.Errorf("while it runs: %s", e.live)
		}
		e.mu.Lock()
		e.live = "somebody's"
		e.mu.Unlock()
		next, err := New(l.cfg, silent)
		if err != nil {
			t.Fatal(err)
		}
		defer next.chain.Close()
		if err := next.pool.Close(); err != nil {
			t.Fatal(err)
		}
		next.pool, next.engine = f, e
		next.lookBack()
		next.turn(context.Background())
		if got := e.serving(); got != "web1,web2" || next.running != l.running {
			t.Errorf("after a restart: %s, generation %+v, want %+v", e.live, next.running, l.running)
		}
		s, _ := next.board.read(&next.cfg)
		if s.Wanted != s.Running || len(s.Nodes) != 2 || s.Nodes[0].Address != "10.0.0.49" || !s.Nodes[0].Stale || s.Redis.Connected {
			t.Errorf("status %+v", s)
		}
	})
}

// What was served with resolve, and lbd does not answer any more, stands as server lines: Nginx would have none.
func TestStandsWithoutNames(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		f.set("web1", "web2", "web3")
		time.Sleep(2 * time.Second)
		f.set("-web3")
		time.Sleep(20 * time.Second)
		synctest.Wait()
		g := *l.last
		up := live.Upstream{Name: "app_backend", Peers: []live.Peer{{ID: "web1", Addr: netip.MustParseAddrPort("10.0.0.49:8000"), Weight: 1}}}
		g.Upstreams = slices.Clone(g.Upstreams)
		g.Upstreams[0].Text = []byte("upstream app_backend {\n    server " + names.Server("app_backend") + ";\n    " + names.Block(netip.MustParseAddrPort("127.0.0.1:9153"), up) + "\n}\n")
		if err := l.archive.put(&g, 0); err != nil {
			t.Fatal(err)
		}
		if got := afterARestart(t, l, f); got != "web1,web2" {
			t.Errorf("after a restart: %s", got)
		}
		if err := pinFile(l.cfg.StateDir).write(&pin{Generation: g.N}); err != nil {
			t.Fatal(err)
		}
		if got := afterARestart(t, l, f); got != "web1,web2" {
			t.Errorf("after a restart, with the generation pinned: %s", got)
		}
	})
}
