package resolvertest

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/resolvers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAGoodResolverPasses(t *testing.T) {
	Run(t, caseOf(func(testing.TB, *good) {}))
	// One that implements nothing but Resolve.
	Run(t, Case{
		New:   func(t testing.TB) resolvers.Resolver { g, _ := newGood(); return resolvers.Func(g.resolve) },
		Known: map[string]resolvers.Endpoint{"a": at("10.0.0.1")}, NotMine: []string{"stranger"},
	})
}

func TestEachBrokenRuleIsSeen(t *testing.T) {
	var inFlight atomic.Int32
	var latest atomic.Pointer[good]
	for _, c := range []struct {
		rule, how string
		why       string // part of what the suite says
		breakIt   func(testing.TB, *good)
	}{
		{"outcomes", "another address", "want", onAnswers(func(c *call) {
			if _, ok := c.Answers["a"]; ok {
				c.Answers["a"] = resolvers.Answer{Endpoint: at("10.6.6.6")}
			}
		})},
		{"outcomes", "a failed source is not mine", "want cannot_know", onAnswers(func(c *call) {
			delete(c.Answers, "down")
		})},
		{"outcomes", "strangers are found", "want not_mine", onAnswers(func(c *call) {
			for _, n := range c.nodes {
				if _, ok := c.Answers[n.ID]; !ok {
					c.Answers[n.ID] = resolvers.Answer{Endpoint: at("10.6.6.6")}
				}
			}
		})},
		{"outcomes", "refused is only an error", "want refused", onAnswers(func(c *call) {
			if _, ok := c.Answers["odd"]; ok {
				c.Answers["odd"] = resolvers.Answer{Err: errors.New("odd")}
			}
		})},
		{"batch", "one failure fails all", "cannot_know", onAnswers(func(c *call) {
			if c.Answers["down"].Err != nil && len(c.Answers) > 1 {
				c.Answers, c.err = nil, c.Answers["down"].Err
			}
		})},
		{"none", "no nodes, no answer", "panics", onAnswers(func(c *call) {
			_ = c.nodes[0]
		})},
		{"many", "a bound that nobody is told of", "want found", onAnswers(func(c *call) {
			if len(c.nodes) > 1000 {
				c.Answers, c.err = nil, nil
			}
		})},
		{"answers", "neither address nor error", "neither address nor error", onAnswers(func(c *call) {
			c.Answers["stranger"] = resolvers.Answer{}
		})},
		{"nodes", "changes them", "changes the nodes", onAnswers(func(c *call) {
			if len(c.nodes) > 0 {
				c.nodes[0].Port = 1
			}
		})},
		{"nodes", "keeps them", "want", func(_ testing.TB, g *good) {
			var first []pool.Node
			right := g.resolve
			g.resolve = func(ctx context.Context, nodes []pool.Node) (resolvers.Answers, error) {
				if first == nil {
					first = nodes
				}
				return right(ctx, first)
			}
		}},
		{"keep", "keeps its answers", "changed its answers", func(_ testing.TB, g *good) {
			all := source()
			g.resolve = func(context.Context, []pool.Node) (resolvers.Answers, error) { return all, nil }
		}},
		{"cancelled", "no time, not mine", "want cannot_know", onAnswers(func(c *call) {
			if c.ctx.Err() != nil {
				c.Answers, c.err = nil, nil
			}
		})},
		{"hang", "no time, not mine", "want cannot_know", onAnswers(func(c *call) {
			c.Answers, c.err = nil, nil
		})},
		{"hang", "no end", "does not return", deaf},
		{"hang then cancel", "no end", "does not return", deaf},
		{"hang then close", "close waits", "close does not return", func(t testing.TB, g *good) {
			end := make(chan struct{})
			t.Cleanup(func() { close(end) })
			g.close = func() error { <-end; return nil }
		}},
		{"hang then close", "close fails", "close: stuck", func(_ testing.TB, g *good) {
			g.close = func() error { return errors.New("stuck") }
		}},
		{"chain", "two are too many", "want it from the first link", onAnswers(func(c *call) {
			if len(c.nodes) == 2 {
				c.Answers = nil
			}
		})},
		{"notifier", "nil", "nil", func(_ testing.TB, g *good) { g.changed = func() <-chan struct{} { return nil } }},
		{"notifier", "another each time", "another channel", func(_ testing.TB, g *good) {
			g.changed = func() <-chan struct{} { return make(chan struct{}) }
		}},
		{"notifier", "closes it", "is closed", func(_ testing.TB, g *good) {
			c := make(chan struct{})
			g.changed = func() <-chan struct{} { return c }
			g.close = func() error { close(c); return nil }
		}},
		{"two", "there can be one", "want", func(_ testing.TB, g *good) {
			latest.Store(g)
			right := g.resolve
			g.resolve = func(ctx context.Context, nodes []pool.Node) (resolvers.Answers, error) {
				if latest.Load() != g {
					return nil, nil
				}
				return right(ctx, nodes)
			}
		}},
		{"shared", "one at a time", "want", onAnswers(func(c *call) {
			inFlight.Add(1)
			defer inFlight.Add(-1)
			for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
				if inFlight.Load() > 1 {
					c.Answers, c.err = nil, nil
				}
			}
		})},
		{"change", "tells nobody", "nothing comes over Changed", func(_ testing.TB, g *good) {
			c := make(chan struct{})
			g.changed = func() <-chan struct{} { return c }
		}},
		{"change", "keeps the old", "10.0.0.99", onAnswers(func(c *call) {
			if _, ok := c.Answers["a"]; ok {
				c.Answers["a"] = source()["a"]
			}
		})},
		{"none", "leaves a goroutine", "goroutines behind", func(t testing.TB, g *good) {
			end := make(chan struct{})
			t.Cleanup(func() { close(end) })
			go func() { <-end }()
		}},
	} {
		t.Run(strings.ReplaceAll(c.rule+": "+c.how, " ", "_"), func(t *testing.T) {
			whole, err := caseOf(c.breakIt).complete()
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rules {
				if r.name != c.rule {
					continue
				}
				if err := r.run(t, whole); err == nil || !strings.Contains(err.Error(), c.why) {
					t.Errorf("the suite says %v, want … %s …", err, c.why)
				}
				return
			}
			t.Fatal("there is no such rule")
		})
	}
}

// A call that had no time left proves nothing; a resolver that never has any is at fault.
func TestAFewLateAnswersAreNoFault(t *testing.T) {
	for late, good := range map[int]bool{0: true, 1: true, lateMost: true, lateMost + 1: false} {
		synctest.Test(t, func(t *testing.T) {
			calls := 0
			c, err := Case{Known: map[string]resolvers.Endpoint{"a": at("10.0.0.1")}, New: func(testing.TB) resolvers.Resolver {
				return resolvers.Func(func(ctx context.Context, _ []pool.Node) (resolvers.Answers, error) {
					if calls++; calls <= late {
						<-ctx.Done()
						return nil, ctx.Err()
					}
					return resolvers.Answers{"a": {Endpoint: at("10.0.0.1")}}, nil
				})
			}}.complete()
			if err != nil {
				t.Fatal(err)
			}
			if err := (&subject{Case: c, t: t, Resolver: c.New(t)}).learn("a"); (err == nil) != good {
				t.Errorf("%d times late: %v", late, err)
			}
		})
	}
}

// A rule without a resolver that breaks it is no rule.
func TestEachRuleIsBrokenAbove(t *testing.T) {
	text, err := os.ReadFile("resolvertest_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		if !strings.Contains(string(text), "{\""+r.name+"\", ") {
			t.Errorf("no resolver breaks %q", r.name)
		}
	}
}

func TestACaseMustBeWhole(t *testing.T) {
	for _, c := range []Case{
		{},
		{New: caseOf(func(testing.TB, *good) {}).New},
		{New: caseOf(func(testing.TB, *good) {}).New, Known: map[string]resolvers.Endpoint{"a": at("127.0.0.1")}},
	} {
		if _, err := c.complete(); err == nil {
			t.Errorf("no error for %+v", c)
		}
	}
}
