package lbd

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bazbeans/bazbeans/lbd/nginx"
	"github.com/bazbeans/bazbeans/step"
)

// two runs a loop with two upstreams: app, and static, whose template the test may spoil.
func two(t *testing.T, test func(t *testing.T, f *fakePool, e *fakeEngine, l *LB)) {
	bubbleWith(t, func(cfg *Config) {
		second := cfg.Upstreams[0]
		second.Name, second.Output = "second", second.Output+".2"
		cfg.Upstreams = append(cfg.Upstreams, second)
	}, test)
}

// servedBy names the servers that an upstream has in what is live.
func (e *fakeEngine) servedBy(upstream string) string {
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	_, block, _ := strings.Cut(e.live, "upstream "+upstream+" {")
	block, _, _ = strings.Cut(block, "\n}")
	return serversIn(block)
}

// An output that Nginx refuses holds up its own upstream and no other, and is tried again.
func TestOneUpstreamAtFault(t *testing.T) {
	for _, named := range []bool{true, false} {
		t.Run(fmt.Sprintf("named by nginx: %t", named), func(t *testing.T) { testOneAtFault(t, named) })
	}
}

func testOneAtFault(t *testing.T, named bool) {
	two(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		f.set("web1", "web2", "web3")
		time.Sleep(2 * time.Second)
		refused := &nginx.Refused{Why: "[emerg] no"}
		if named {
			refused.Paths = []string{l.cfg.Upstreams[1].Output}
		}
		e.mu.Lock()
		e.refuse = func(text string) error {
			_, second, _ := strings.Cut(text, "upstream second {")
			if !strings.Contains(second, "web2") { // the second one must have it
				return step.Wrap(step.Test, refused)
			}
			return nil
		}
		e.mu.Unlock()
		f.set("-web2")
		time.Sleep(3 * time.Second)
		if a, b := e.servedBy("app_backend"), e.servedBy("second"); a != "web1,web3" || b != "web1,web2,web3" {
			t.Fatalf("app_backend serves %s, second %s", a, b)
		}
		// Nobody says that web2 is drained.
		if a := f.lastAck(); a.Rev == f.rev || !strings.Contains(a.Error, "upstream second") {
			t.Errorf("ack %+v at rev %d", a, f.rev)
		}
		if s, _ := l.board.read(&l.cfg); !slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, "upstream second: nginx refuses") }) {
			t.Errorf("problems %q", s.Problems)
		}
		// What changes later in the pool goes into the other at once.
		f.set("-web3")
		time.Sleep(3 * time.Second)
		if a, b := e.servedBy("app_backend"), e.servedBy("second"); a != "web1" || b != "web1,web2,web3" {
			t.Errorf("app_backend serves %s, second %s", a, b)
		}
		e.mu.Lock()
		e.refuse = func(string) error { return nil }
		e.mu.Unlock()
		time.Sleep(12 * time.Minute)
		if a, b := e.servedBy("app_backend"), e.servedBy("second"); a != "web1" || b != "web1" {
			t.Errorf("healed: app_backend serves %s, second %s", a, b)
		}
		if a := f.lastAck(); a.Rev != f.rev || a.Error != "" {
			t.Errorf("ack %+v at rev %d", a, f.rev)
		}
	})
}

// When the operator's own configuration is at fault nothing is applied, and no upstream is blamed.
func TestNobodysFault(t *testing.T) {
	two(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		f.set("web1", "web2", "web3")
		time.Sleep(2 * time.Second)
		e.mu.Lock()
		e.refuse = func(string) error { return step.Errorf(step.Test, "", "other.conf:3: unknown directive") }
		e.mu.Unlock()
		f.set("-web2")
		time.Sleep(3 * time.Second)
		if a, b := e.servedBy("app_backend"), e.servedBy("second"); a != "web1,web2,web3" || b != a {
			t.Errorf("app_backend serves %s, second %s", a, b)
		}
		if s, _ := l.board.read(&l.cfg); strings.Contains(strings.Join(s.Problems, "\n"), "upstream second") {
			t.Errorf("problems %q", s.Problems)
		}
	})
}

// A new upstream that Nginx refuses holds up no other.
func TestNewUpstreamAtFault(t *testing.T) {
	two(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		time.Sleep(2 * time.Second)
		e.mu.Lock()
		e.refuse = func(text string) error {
			if strings.Contains(text, "upstream second {") {
				return step.Wrap(step.Test, &nginx.Refused{Why: "duplicate upstream"})
			}
			return nil
		}
		e.mu.Unlock()
		synctest.Wait()                                         // the loop rests
		l.last, l.running, l.settled = nil, generation{}, false // as if it were the first start
		f.set("web1", "web2")
		time.Sleep(3 * time.Second)
		f.set("-web2")
		time.Sleep(3 * time.Second)
		if a, b := e.servedBy("app_backend"), e.servedBy("second"); a != "web1" || b != "" {
			t.Errorf("app_backend serves %s, second %s", a, b)
		}
	})
}
