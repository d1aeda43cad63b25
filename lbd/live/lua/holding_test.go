package lua_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// holding are nodes that answer a request for a path with "hold" in it only when they are told to.
type holding struct {
	t     testing.TB
	nodes []*node
	open  []atomic.Int64
	gate  chan struct{}
	wg    sync.WaitGroup
	stop  context.CancelFunc // ends the clients
	ctx   context.Context
}

func newHolding(t testing.TB, count int) *holding {
	h := &holding{t: t, open: make([]atomic.Int64, count), gate: make(chan struct{})}
	h.ctx, h.stop = context.WithCancel(t.Context())
	for i := range count {
		name := fmt.Sprint("n", i)
		h.nodes = append(h.nodes, newNode(t, name, func(w http.ResponseWriter, r *http.Request) {
			if len(r.URL.Path) >= 5 && r.URL.Path[:5] == "/hold" {
				h.open[i].Add(1)
				defer h.open[i].Add(-1)
				select {
				case <-h.gate:
				case <-r.Context().Done():
				}
			}
			io.WriteString(w, name)
		}))
	}
	t.Cleanup(func() { h.release(); h.stop(); h.wg.Wait() })
	return h
}

// start sends a request that will be held; its client gives up when stop is called.
func (h *holding) start(s *site, path string) {
	h.wg.Add(1)
	go func() {
		defer h.wg.Done()
		req, _ := http.NewRequestWithContext(h.ctx, "GET", "http://"+s.addr+path, nil)
		resp, err := fresh.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		if err != nil && h.ctx.Err() == nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			h.t.Log(err)
		}
	}()
}

func (h *holding) held() []int {
	var held []int
	for i := range h.open {
		held = append(held, int(h.open[i].Load()))
	}
	return held
}

// await waits until n requests are held.
func (h *holding) await(n int) {
	h.t.Helper()
	serverstest.Eventually(h.t, soon, func() error {
		sum := 0
		for _, k := range h.held() {
			sum += k
		}
		if sum != n {
			return fmt.Errorf("%v are held, want %d", h.held(), n)
		}
		return nil
	})
}

func (h *holding) spread() (low, high int) {
	held := h.held()
	low, high = held[0], held[0]
	for _, n := range held {
		low, high = min(low, n), max(high, n)
	}
	return low, high
}

// release lets all held requests end.
func (h *holding) release() {
	select {
	case <-h.gate:
	default:
		close(h.gate)
	}
}
