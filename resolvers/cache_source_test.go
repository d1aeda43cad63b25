package resolvers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// source is what a Cache looks up in: it answers after a while, and counts.
type source struct {
	mu    sync.Mutex
	takes time.Duration
	says  map[string]finding // a name that is not in it: 10.0.0.1
	asked map[string]int
	runs  int
	now   int // look-ups under way
	most  int
}

func (s *source) look(ctx context.Context, asks []question) []finding {
	s.mu.Lock()
	s.runs++
	s.now++
	s.most = max(s.most, s.now)
	takes := s.takes
	s.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now--
	all := make([]finding, len(asks))
	for i, q := range asks {
		s.asked[q.id]++
		f, ok := s.says[q.id]
		switch {
		case ctx.Err() != nil:
			f.err = ctx.Err()
		case !ok:
			f.Endpoint = at("10.0.0.1").Endpoint
		}
		all[i] = f
	}
	return all
}

func (s *source) say(id string, f finding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.says[id] = f
}

func (s *source) count(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[id]
}

// totals are the look-ups so far, and how many there were at once.
func (s *source) totals() (runs, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs, s.most
}

func foundAt(addr string) finding {
	return finding{Endpoint: Endpoint{Addr: netip.MustParseAddr(addr)}}
}

var errDown = errors.New("down")

// cached runs a test with a Cache over a source in a bubble with its own clock. TTL and timeout are a minute and 5 s.
func cached(t *testing.T, parallel, batch int, test func(t *testing.T, c *Cache, s *source)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &source{takes: 10 * time.Millisecond, says: map[string]finding{}, asked: map[string]int{}}
		c := newCache(s.look, limits{ttl: time.Minute, timeout: 5 * time.Second, parallel: parallel, batch: batch})
		defer func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}()
		test(t, c, s)
	})
}

// say is one Resolve of one node, as text, with how long it took.
func say(t *testing.T, c *Cache, id string) (string, time.Duration) {
	t.Helper()
	began := time.Now()
	got, err := c.Resolve(t.Context(), nodes(id))
	took := time.Since(began)
	if err != nil {
		t.Fatal(err)
	}
	a, ok := got[id]
	switch {
	case !ok:
		return "not mine", took
	case a.Err != nil && a.Addr.IsValid():
		return a.Addr.String() + ", " + a.Err.Error(), took
	case a.Err != nil:
		return a.Err.Error(), took
	}
	return a.Addr.String(), took
}

func want(t *testing.T, c *Cache, id, text string, within time.Duration) {
	t.Helper()
	if got, took := say(t, c, id); got != text || took > within {
		t.Errorf("%s: %q after %v, want %q within %v", id, got, took, text, within)
	}
}

func hasChanged(c *Cache) bool {
	select {
	case <-c.Changed():
		return true
	default:
		return false
	}
}

func ids(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("n%d", i)
	}
	return all
}
