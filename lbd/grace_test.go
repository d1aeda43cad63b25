package lbd

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// ages gives every node a heartbeat that has so long to live from now on.
func (f *fakePool) ages(left time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, n := range f.nodes {
		n.Expires = time.Now().Add(left)
		f.nodes[id] = n
	}
}

// settled brings up a pool of ten nodes whose heartbeats live for 30 s, and waits until no grace is left.
func settled(f *fakePool) {
	f.ttl = 30 * time.Second
	f.set(strings.Fields("web0 web1 web2 web3 web4 web5 web6 web7 web8 web9")...)
	for range 5 {
		time.Sleep(10 * time.Second)
		f.ages(30 * time.Second)
	}
}

// What is merely missing stays for one heartbeat TTL after Redis was lost sight of; an operator's freeze does not wait.
func TestGraceAfterAReconnection(t *testing.T) {
	for _, c := range []struct {
		name string
		lose func(f *fakePool, e *fakeEngine)
	}{
		{"redis was away", func(f *fakePool, _ *fakeEngine) {
			f.mu.Lock()
			f.away = errors.New("connection refused")
			f.mu.Unlock()
			time.Sleep(8 * time.Second)
			f.mu.Lock()
			f.away = nil
			f.mu.Unlock()
		}},
		{"the subscription broke", func(f *fakePool, _ *fakeEngine) { f.wakes <- pool.Wake{Subscribed: true} }},
		{"redis forgot", func(f *fakePool, _ *fakeEngine) {
			f.mu.Lock()
			f.rev = 0
			f.mu.Unlock()
		}},
		{"redis forgot, and an agent raised the revision before the first look", func(f *fakePool, _ *fakeEngine) {
			f.mu.Lock()
			f.acked, f.rev = "", f.rev+1000
			f.mu.Unlock()
		}},
		{"redis forgot, and lbd said what it serves before the first look", func(f *fakePool, e *fakeEngine) {
			f.mu.Lock()
			f.acked, f.rev = "", f.rev+1000
			f.mu.Unlock()
			e.mu.Lock()
			e.former = 1
			e.mu.Unlock()
			time.Sleep(2 * nginxPoll)
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.acked == "" {
				panic("no ack was written")
			}
		}},
		{"redis stood still", func(f *fakePool, _ *fakeEngine) {
			f.mu.Lock()
			f.slow = 3 * time.Second
			f.mu.Unlock()
			f.wakes <- pool.Wake{Event: &pool.Event{Rev: 1}}
			time.Sleep(10 * time.Second)
			f.mu.Lock()
			f.slow = 0
			f.mu.Unlock()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
				settled(f)
				c.lose(f, e)
				f.change("web1", func(n *pool.Node) { n.Expires = time.Now() })
				f.change("web2", func(n *pool.Node) { *n = pool.Node{ID: "web2"} })
				f.set("-web3")
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if got := e.serving(); got != "web0,web1,web2,web4,web5,web6,web7,web8,web9" {
					t.Fatalf("served in the grace: %s", got)
				}
				if a := f.lastAck(); !slices.Equal(a.Held, []string{"web1", "web2"}) {
					t.Errorf("held %v", a.Held)
				}
				for range 4 {
					time.Sleep(10 * time.Second)
					for _, id := range strings.Fields("web0 web4 web5 web6 web7 web8 web9") {
						f.change(id, func(n *pool.Node) { n.Expires = time.Now().Add(30 * time.Second) })
					}
				}
				synctest.Wait()
				if got := e.serving(); got != "web0,web4,web5,web6,web7,web8,web9" {
					t.Errorf("served after it: %s", got)
				}
			})
		})
	}
}

// Without any of that a node that expires is out at once.
func TestNoGraceWithoutAReason(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, _ *LB) {
		settled(f)
		f.change("web1", func(n *pool.Node) { n.Expires = time.Now() })
		f.wakes <- pool.Wake{Event: &pool.Event{Rev: 1}}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := e.serving(); strings.Contains(got, "web1") {
			t.Errorf("served: %s", got)
		}
	})
}

// What one node's heartbeat says of itself concerns no other node.
func TestGraceIsEachNodesOwn(t *testing.T) {
	now := time.Now()
	var s sight
	s.seen(now, &pool.Snapshot{Rev: 1, Taken: now, Nodes: []pool.Node{
		{ID: "web1", Alive: true, Expires: now.Add(3 * time.Second)},
		{ID: "liar", Alive: true, Expires: now.Add(24 * time.Hour)},
		{ID: "forever", Alive: true},
	}})
	for id, want := range map[string]time.Duration{"web1": 3 * time.Second, "liar": ttlMost, "forever": ttlUnknown, "never-seen": ttlUnknown} {
		if got := s.grace(id).Sub(s.since); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}

// saidByRedis is an error that Redis itself answered.
type saidByRedis string

func (s saidByRedis) Error() string { return string(s) }
func (saidByRedis) RedisError()     {}

// A Redis that takes no write takes no heartbeat: what is missing from it proves nothing.
func TestGraceWhileNoWriteIsTaken(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, l *LB) {
		settled(f)
		f.mu.Lock()
		f.full = saidByRedis("OOM command not allowed when used memory > 'maxmemory'.")
		f.mu.Unlock()
		for _, id := range strings.Fields("web1 web2 web3 web4 - - - - - -") { // one after another, and fewer than max_shrink
			if id != "-" {
				f.change(id, func(n *pool.Node) { n.Expires = time.Now() })
				f.wakes <- pool.Wake{Event: &pool.Event{Rev: 1}}
			}
			time.Sleep(10 * time.Second)
			for _, id := range strings.Fields("web0 web5 web6 web7 web8 web9") {
				f.change(id, func(n *pool.Node) { n.Expires = time.Now().Add(30 * time.Second) })
			}
		}
		synctest.Wait()
		if got := e.serving(); got != "web0,web1,web2,web3,web4,web5,web6,web7,web8,web9" {
			t.Fatalf("served while redis is full: %s", got)
		}
		if s, _ := l.board.read(&l.cfg); !strings.Contains(strings.Join(s.Problems, "\n"), "can't say in redis what is served: OOM") {
			t.Errorf("problems %q", s.Problems)
		}
		f.mu.Lock()
		f.full = nil
		f.mu.Unlock()
		f.set("web1", "web2", "web0", "web5", "web6", "web7", "web8", "web9")
		time.Sleep(20 * time.Second)
		if got := e.serving(); got != "web0,web1,web2,web3,web4,web5,web6,web7,web8,web9" {
			t.Errorf("served in the grace after it: %s", got)
		}
		f.ages(30 * time.Second)
		f.change("web3", func(n *pool.Node) { n.Expires = time.Now() })
		f.change("web4", func(n *pool.Node) { n.Expires = time.Now() })
		time.Sleep(25 * time.Second)
		synctest.Wait()
		if got := e.serving(); got != "web0,web1,web2,web5,web6,web7,web8,web9" {
			t.Errorf("served in the end: %s", got)
		}
	})
}

// One ack that is gone is one alarm, however often it is missed: an lbd that can write none keeps nothing longer for it.
func TestAnAckIsMissedOnce(t *testing.T) {
	var s sight
	now := time.Now()
	look := func(acked bool) time.Time {
		now = now.Add(time.Minute)
		s.seen(now, &pool.Snapshot{Rev: 1, Taken: now, Unacked: !acked})
		return s.since
	}
	first := look(false)
	if look(false) != first {
		t.Fatal("an ack that was never written is missed")
	}
	if s.wrote(false); s.since != first || look(true) != first {
		t.Fatal("an alarm though all is as it should be")
	}
	missed := look(false)
	if missed == first {
		t.Fatal("no alarm, though the ack is gone")
	}
	if look(false) != missed {
		t.Error("a second alarm for one ack")
	}
	if s.wrote(false); s.since != missed {
		t.Error("a second alarm when it is written anew")
	}
	if s.wrote(false); s.since == missed {
		t.Error("no alarm, though the ack written last was gone when the next was")
	}
}

// However often the subscription is cut, a dead node is not kept for ever.
func TestGraceEnds(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakePool, e *fakeEngine, _ *LB) {
		settled(f)
		f.change("web1", func(n *pool.Node) { n.Expires = time.Now() })
		for i := range 20 {
			for _, id := range strings.Fields("web0 web2 web3 web4 web5 web6 web7 web8 web9") {
				f.change(id, func(n *pool.Node) { n.Expires = time.Now().Add(30 * time.Second) })
			}
			if i%2 == 0 {
				f.wakes <- pool.Wake{Subscribed: true}
			}
			time.Sleep(10 * time.Second)
		}
		if got := e.serving(); strings.Contains(got, "web1") {
			t.Errorf("served after 200 s: %s", got)
		}
	})
}
