package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

// holder is a node that keeps requests for /hold.
type holder struct {
	s      *Site
	server *httptest.Server
	entry  forged
	began  chan struct{} // a request for each
	ended  sync.Once
}

// hold adds the node and returns when one request is under way on it.
func (s *Site) hold(id string) *holder {
	h := &holder{s: s, began: make(chan struct{}, 1)}
	h.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Node", id)
		if r.URL.Path != "/hold" {
			fmt.Fprintln(w, id)
			return
		}
		h.began <- struct{}{}
		<-r.Context().Done() // it ends when Nginx does, or a worker of it
	}))
	s.atEnd(func() error { h.end(); return nil })
	ip, port := splitAddr(h.server.Listener.Addr().String())
	h.entry = forged{id: id, agent: "1.0", fields: map[string]string{"address": ip, "port": port}}
	s.forge(h.entry)
	s.redisDo("PUBLISH", "bazbeans:lb_events", "{}")
	ctx, stop := context.WithCancel(s.ctx)
	s.atEnd(func() error { stop(); return nil })
	s.wait(soon, func() error { // until it is this node's turn
		answered := make(chan struct{})
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.lb.Listen[0]+"/hold", nil)
		s.must(err)
		go func() {
			defer close(answered)
			if resp, err := http.DefaultClient.Do(req); err == nil {
				resp.Body.Close()
			}
		}()
		select {
		case <-h.began:
			return nil
		case <-answered:
			return fmt.Errorf("no request has come to %s", h.server.Listener.Addr())
		case <-time.After(soon):
			return fmt.Errorf("no answer to /hold within %v", soon)
		}
	})
	return h
}

// end takes the node away.
func (h *holder) end() {
	h.ended.Do(func() {
		h.s.unforge(h.entry)
		h.server.CloseClientConnections()
		h.server.Close()
	})
}
