package names

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// told is a Zone whose clients and sockets are played by the test.
type told struct {
	*testing.T
	Zone
	open unread
	now  time.Time
}

var worker, tcpWorker = netip.MustParseAddrPort("127.0.0.1:1001"), netip.MustParseAddrPort("127.0.0.1:2001")

func newTold(t *testing.T, workers ...netip.AddrPort) *told {
	z := &told{T: t, now: time.Unix(1e9, 0)}
	z.clients, z.strangers = map[asker]*client{}, map[netip.AddrPort]time.Time{}
	z.open = unread{udp: map[netip.AddrPort]uint64{}, tcp: map[netip.AddrPort]uint64{}}
	for _, w := range workers {
		z.open.udp[w] = 0
	}
	return z
}

func (z *told) set(generation int64, upstreams ...Upstream) {
	z.Helper()
	if err := z.Set(generation, upstreams); err != nil {
		z.Fatal(err)
	}
}

func (z *told) of(upstream string) *set { return z.content.Load().byOwner[owner(upstream)] }

func (z *told) tell(from netip.AddrPort, upstream string) {
	z.toldUDP(from, z.of(upstream), false, z.now)
}

func (z *told) want(why string) {
	z.Helper()
	generation, got := z.settled(z.content.Load(), z.open, z.now)
	if got != why {
		z.Errorf("pending: %q, want %q", got, why)
	}
	if newest := z.content.Load().generation; (why == "") != (generation == newest) {
		z.Errorf("settled at %d of %d, pending %q", generation, newest, why)
	}
}

func (z *told) pass(d time.Duration) { z.now = z.now.Add(d) }

func TestPendingOfOneWorker(t *testing.T) {
	z := newTold(t, worker)
	z.set(1, upstream("app", "10.0.0.1:80", "10.0.0.2:80"))
	z.want("upstream app: Nginx has not asked for it")
	z.tell(worker, "app")
	z.want("upstream app: the worker at 127.0.0.1:1001 looks up the new addresses of generation 1")
	z.pass(time.Second)
	z.want("upstream app: the worker at 127.0.0.1:1001 looks up the new addresses of generation 1")
	z.tell(worker, "app") // it asks again: what came before is done
	z.want("upstream app: the worker at 127.0.0.1:1001 has only just read generation 1")
	z.pass(margin)
	z.want("")

	// One node less: nothing has to be looked up.
	z.set(2, upstream("app", "10.0.0.1:80"))
	z.want("upstream app: the worker at 127.0.0.1:1001 has not asked since generation 2")
	z.tell(worker, "app")
	z.open.udp[worker] = 768
	z.want("upstream app: the worker at 127.0.0.1:1001 has not read generation 2")
	z.pass(time.Minute)
	z.want("upstream app: the worker at 127.0.0.1:1001 has not read generation 2")
	z.open.udp[worker] = 0
	z.want("upstream app: the worker at 127.0.0.1:1001 has only just read generation 2")
	z.pass(margin)
	z.want("")
	z.tell(worker, "app")
	z.open.udp[worker] = 768 // the same again: it goes by it already
	z.want("")

	// A weight.
	z.open.udp[worker] = 0
	u := upstream("app", "10.0.0.1:80")
	u.Peers[0].Weight = 9
	z.set(3, u)
	z.want("upstream app: the worker at 127.0.0.1:1001 has not asked since generation 3")
	z.tell(worker, "app")
	z.want("upstream app: the worker at 127.0.0.1:1001 has only just read generation 3")
	z.pass(margin)
	z.want("")
}

// What was told after the sockets were listed can't be seen to be read, nor its socket to be gone.
func TestPendingOfWhatIsToldMeanwhile(t *testing.T) {
	z := newTold(t, worker)
	z.set(1, upstream("app", "10.0.0.1:80", "10.0.0.2:80"))
	listed := z.now
	z.pass(time.Millisecond)
	z.tell(worker, "app")
	z.tell(worker, "app")
	z.tell(tcpWorker, "app")
	z.now = listed
	z.want("upstream app: the worker at 127.0.0.1:1001 is being told generation 1")
	z.pass(time.Minute)
	z.want("upstream app: the worker at 127.0.0.1:1001 has only just read generation 1")
	z.pass(margin)
	z.want("")
}

// What Nginx goes by while it has not caught up.
func TestSettledGeneration(t *testing.T) {
	z := newTold(t, worker)
	check := func(want int64) {
		t.Helper()
		if got, why := z.settled(z.content.Load(), z.open, z.now); got != want {
			t.Errorf("settled at %d, %s; want %d", got, why, want)
		}
	}
	a, b := upstream("a", "10.0.0.1:80", "10.0.0.2:80"), upstream("b", "10.0.0.1:80")
	z.set(1, a, b)
	check(0)
	for range 2 {
		z.tell(worker, "a")
		z.tell(worker, "b")
	}
	check(0)
	z.pass(margin)
	check(1)
	b.Peers[0].Weight = 2
	z.set(5, a, b)
	check(4) // it goes by all that was until b changed
	z.tell(worker, "b")
	check(4)
	z.set(7, upstream("a", "10.0.0.1:80"), b)
	z.pass(margin)
	check(6)
	z.tell(worker, "a")
	check(6)
	z.set(8, upstream("a", "10.0.0.2:80"), b)
	z.pass(margin)
	check(7) // though it has not asked for the newest
	z.open.udp[netip.MustParseAddrPort("127.0.0.1:1009")] = 0
	check(0)
}

// Whoever calls once a second sees the end of it too, though an answer is there each second.
// TestSettledWhileAllChanges: nodes come and go all the time, and no answer is like the one before.
func TestSettledWhileAllChanges(t *testing.T) {
	z := newTold(t, worker)
	for generation := int64(1); generation < 20; generation++ {
		z.set(generation, upstream("app", fmt.Sprintf("10.0.0.%d:80", generation), "10.0.1.1:80"))
		z.tell(worker, "app")
		z.pass(time.Second)
		if got, why := z.settled(z.content.Load(), z.open, z.now); got != generation-1 || why == "" {
			t.Errorf("settled at %d of %d, pending %q", got, generation, why)
		}
		z.pass(time.Second)
	}
	z.set(20, upstream("app", "10.0.2.1:80"))
	z.tell(worker, "app")
	z.open.udp[worker] = 768
	z.set(21, upstream("app", "10.0.2.2:80"))
	z.settled(z.content.Load(), z.open, z.now)
	z.tell(worker, "app") // it asks once more for the answer that it has not read
	if got, why := z.settled(z.content.Load(), z.open, z.now); got != 19 {
		t.Errorf("settled at %d, pending %q: want 19, whose answer was read", got, why)
	}
}

func TestPendingAskedSeldom(t *testing.T) {
	z := newTold(t, worker)
	z.set(1, upstream("app", "10.0.0.1:80"))
	z.tell(worker, "app")
	z.pass(time.Second)
	z.tell(worker, "app")
	z.want("upstream app: the worker at 127.0.0.1:1001 has only just read generation 1")
	z.pass(time.Second)
	z.tell(worker, "app")
	z.want("")
}

func TestPendingOfTwoUpstreamsAndGenerations(t *testing.T) {
	old := netip.MustParseAddrPort("127.0.0.1:1002")
	z := newTold(t, worker, old)
	a, b := upstream("a", "10.0.0.1:80", "10.0.0.2:80"), upstream("b", "10.0.0.1:80")
	z.set(1, a, b)
	for range 2 {
		z.tell(worker, "a")
		z.tell(worker, "b")
		z.tell(old, "a")
	}
	z.want("upstream a: the worker at 127.0.0.1:1001 has only just read generation 1")
	z.pass(margin)
	z.want("")
	z.set(2, upstream("a", "10.0.0.1:80"), b)
	z.tell(worker, "a")
	z.want("upstream a: the worker at 127.0.0.1:1001 has only just read generation 2")
	z.pass(margin)
	z.want("upstream a: the worker at 127.0.0.1:1002 has not asked since generation 2")
	delete(z.open.udp, old) // the old worker has ended
	z.want("")
	if len(z.clients) != 2 {
		t.Errorf("%d clients are kept", len(z.clients))
	}
	z.set(3, b)
	z.want("")
	z.set(4)
	z.want("")
}

func TestPendingOverTCP(t *testing.T) {
	z := newTold(t, worker)
	z.set(1, upstream("app", "10.0.0.1:80"))
	z.toldUDP(worker, z.of("app"), true, z.now)
	z.want("upstream app: the worker at 127.0.0.1:1001 has not come for an answer that is too long for UDP")
	z.open.tcp[tcpWorker] = 0
	z.toldTCP(tcpWorker, z.of("app"), z.now)
	z.toldUDP(worker, z.of("app"), true, z.now)
	z.toldTCP(tcpWorker, z.of("app"), z.now)
	z.open.tcp[tcpWorker] = 4000
	z.want("upstream app: the worker at 127.0.0.1:1001 has not read generation 1")
	delete(z.open.tcp, tcpWorker)
	z.want("upstream app: the worker at 127.0.0.1:1001 has closed the connection of its answer")
	z.open.tcp[tcpWorker] = 0
	z.want("upstream app: the worker at 127.0.0.1:1001 has only just read generation 1")
	z.pass(margin)
	z.want("")

	// Somebody else's question over TCP is nobody's answer.
	z.set(2, upstream("app", "10.0.0.2:80"))
	z.toldTCP(tcpWorker, z.of("app"), z.now)
	z.want("upstream app: the worker at 127.0.0.1:1001 has not asked since generation 2")
}

// A socket that was connected to us before we began belongs to a worker, until it has been silent for too long.
func TestPendingOfStrangers(t *testing.T) {
	stranger := netip.MustParseAddrPort("127.0.0.1:1003")
	z := newTold(t, worker, stranger)
	z.set(1, upstream("app", "10.0.0.1:80"))
	z.tell(worker, "app")
	z.tell(worker, "app")
	z.want("upstream app: the worker at 127.0.0.1:1001 has only just read generation 1")
	z.pass(margin)
	z.want("the worker at 127.0.0.1:1003 has not asked yet")
	z.pass(patience - margin - time.Millisecond)
	z.want("the worker at 127.0.0.1:1003 has not asked yet")
	z.pass(time.Millisecond)
	z.want("")
	delete(z.open.udp, stranger)
	z.want("")
	if len(z.strangers) > 0 {
		t.Errorf("strangers are kept: %v", z.strangers)
	}
}

func TestClientsAreBounded(t *testing.T) {
	z := newTold(t)
	z.set(1, upstream("app", "10.0.0.1:80"))
	for port := range uint16(maxClients + 100) {
		z.pass(time.Millisecond)
		z.tell(netip.AddrPortFrom(worker.Addr(), port+1), "app")
	}
	if len(z.clients) != maxClients || z.clients[asker{netip.AddrPortFrom(worker.Addr(), 100), owner("app")}] != nil {
		t.Errorf("%d clients; the oldest ones are kept", len(z.clients))
	}
}
