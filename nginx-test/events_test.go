package nginxtest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// event is what goes over the channel, as the original system's readers know it, and what ours add.
type event struct {
	Event       string
	NodeID      string `json:"node_id"`
	Timestamp   string
	Reason      string
	ActiveNodes []string `json:"active_nodes"`
	DataCenter  string   `json:"data_center"`
	NodePort    int      `json:"node_port"`
	Rev, Prev   int64
}

// heard collects the events from the channel.
type heard struct {
	mu     sync.Mutex
	events []event
}

// listen returns when the subscription stands.
func listen(t testing.TB, rdb *redis.Client) *heard {
	t.Helper()
	h := &heard{}
	sub := rdb.Subscribe(t.Context(), "bazbeans:lb_events")
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	messages := sub.Channel()
	go func() {
		defer close(done)
		for m := range messages {
			var e event
			if json.Unmarshal([]byte(m.Payload), &e) != nil {
				continue // some stories publish rubbish
			}
			h.mu.Lock()
			h.events = append(h.events, e)
			h.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = sub.Close() // the server may have gone
		<-done
	})
	return h
}

// wantEvent waits for an event of ours, and checks what every one has.
func (s *site) wantEvent(kind, id string) event {
	s.t.Helper()
	e := s.awaitEvent(kind, id, true)
	at, err := time.Parse(time.RFC3339, e.Timestamp)
	if err != nil || at.Location() != time.UTC || !strings.HasSuffix(e.Timestamp, "Z") {
		s.t.Errorf("event %+v: the timestamp is not RFC 3339 in UTC", e)
	}
	if e.ActiveNodes == nil || e.Rev <= e.Prev {
		s.t.Errorf("event %+v: want active_nodes, and a rev above prev", e)
	}
	return e
}

// wantPythonEvent waits for an event as the original system publishes it.
func (s *site) wantPythonEvent(kind, id string) {
	s.t.Helper()
	s.awaitEvent(kind, id, false)
}

// awaitEvent waits for an event; ours have a revision.
func (s *site) awaitEvent(kind, id string, ours bool) (found event) {
	s.t.Helper()
	serverstest.Eventually(s.t, soon, func() error {
		s.heard.mu.Lock()
		defer s.heard.mu.Unlock()
		i := slices.IndexFunc(s.heard.events, func(e event) bool { return e.Event == kind && e.NodeID == id && (e.Rev != 0) == ours })
		if i < 0 {
			return fmt.Errorf("no event %s of %s (with a revision: %v) among %+v", kind, id, ours, s.heard.events)
		}
		found = s.heard.events[i]
		return nil
	})
	return found
}
