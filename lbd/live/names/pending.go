package names

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"
)

const (
	// margin is the time for Nginx to act on an answer after it was read: it does so in one go, in a few milliseconds
	// with a thousand peers. It is also the time in which a worker that a reload has started asks for the first time.
	margin = 50 * time.Millisecond

	// patience is how long a socket that is connected to us may ask nothing before it is nobody's: longer than a look
	// of Nginx that goes wrong takes, resolver_timeout twice.
	patience = 5 * time.Second

	maxClients = 4096
)

// asker is a socket and the upstream that it asks for: each upstream has a resolver of its own in each worker that
// looks. Only one worker of a generation looks.
type asker struct {
	from  netip.AddrPort // over UDP, always: Nginx asks that way first
	owner string
}

// client is what an asker was told last, and what it goes by.
type client struct {
	set    *set
	cut    bool           // it was told to ask over TCP, and has not
	tcp    netip.AddrPort // where it was told, if not at from
	fewer  bool           // there was no name in it that was not in the answer before: nothing else has to be asked for
	at     time.Time
	readAt time.Time // when the answer, or one before with the same set, was first seen to have been read
	goesBy *set      // nil: not known
}

func (z *Zone) toldUDP(from netip.AddrPort, about *set, cut bool, now time.Time) {
	z.mu.Lock()
	defer z.mu.Unlock()
	key := asker{from, owner(about.upstream)}
	c := z.clients[key]
	if c == nil {
		if len(z.clients) >= maxClients {
			z.forgetOldest()
		}
		c = &client{}
		z.clients[key] = c
	}
	if cut {
		c.cut, c.at = true, now
		return
	}
	c.told(about, netip.AddrPort{}, now)
}

// toldTCP takes the answer to be for that client which was first told to ask over TCP. Which one it was doesn't
// matter when two are waiting: neither counts before both were told.
func (z *Zone) toldTCP(from netip.AddrPort, about *set, now time.Time) {
	z.mu.Lock()
	defer z.mu.Unlock()
	var first *client
	for key, c := range z.clients {
		if c.cut && key.owner == owner(about.upstream) && (first == nil || c.at.Before(first.at)) {
			first = c
		}
	}
	if first != nil && now.Sub(first.at) < tooLate {
		first.told(about, from, now)
	}
}

func (c *client) told(about *set, tcp netip.AddrPort, now time.Time) {
	if c.set != about && !c.readAt.IsZero() {
		c.goesBy = c.set // it has acted before it asks again; with changes each second there is never one answer twice
	}
	if c.set != about || !c.fewer {
		c.readAt = time.Time{}
	}
	c.fewer = c.set != nil && c.set.holds(about)
	c.set, c.cut, c.tcp, c.at = about, false, tcp, now
}

// holds tells whether all names of other are in s.
func (s *set) holds(other *set) bool {
	if s == other {
		return true
	}
	for name := range other.hosts {
		if _, ok := s.hosts[name]; !ok {
			return false
		}
	}
	return true
}

func (z *Zone) forgetOldest() {
	var oldest asker
	for key, c := range z.clients {
		if oldest == (asker{}) || c.at.Before(z.clients[oldest].at) {
			oldest = key
		}
	}
	delete(z.clients, oldest)
}

// Pending says why requests may still be sent by an older content than that of the last [Zone.Set]; "" when none can:
// every worker that looks was answered from it, has read the answer, and has had the time to act on it. An answer with
// new peers counts once the worker has looked again, a second later, because it asks for their addresses before it
// acts. It takes one call to see that an answer was read and a later one for the time to have passed: ask again.
func (z *Zone) Pending() string {
	_, why := z.Settled()
	return why
}

// Settled is Pending with the newest generation such that all that begins now goes by it or a later one; 0 when that is
// not known.
func (z *Zone) Settled() (generation int64, pending string) {
	want := z.content.Load()
	if want == nil {
		return 0, "no peers are known yet"
	}
	u, now := unread{}, time.Now() // before the tables are read: what is told later is not in them
	var err error
	if u.udp, err = z.unreadUDP(); err == nil && z.usesTCP() {
		u.tcp, err = z.unreadBy(connections)
	}
	if err != nil {
		return 0, err.Error()
	}
	return z.settled(want, u, now)
}

// unread has the sockets of this host that are connected to ours, by their own address, and how many bytes wait in
// them to be read.
type unread struct{ udp, tcp map[netip.AddrPort]uint64 }

func (z *Zone) unreadUDP() (map[netip.AddrPort]uint64, error) {
	return z.unreadBy(func(yield func(socket)) error { return sockets("udp", yield) })
}

func (z *Zone) unreadBy(list func(yield func(socket)) error) (map[netip.AddrPort]uint64, error) {
	waiting := map[netip.AddrPort]uint64{}
	err := list(func(s socket) {
		if s.remote == z.addr {
			waiting[s.local] = s.unread
		}
	})
	return waiting, err
}

func (z *Zone) usesTCP() bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, c := range z.clients {
		if c.tcp.IsValid() {
			return true
		}
	}
	return false
}

// settled is Settled with the sockets as they were at some moment not before now.
func (z *Zone) settled(want *content, u unread, now time.Time) (generation int64, pending string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	generation = want.generation
	why := map[string]string{} // by owner
	asked := map[string]bool{}
	known := map[netip.AddrPort]bool{}
	for key, c := range z.clients {
		if _, open := u.udp[key.from]; !open && !c.at.After(now) {
			delete(z.clients, key)
			continue
		}
		known[key.from] = true
		reason := c.advance(u, key.from, now)
		s := want.byOwner[key.owner]
		if s == nil {
			continue // an upstream that is no more
		}
		asked[key.owner] = true
		if c.goesBy == s {
			continue
		}
		if c.set != s && !c.cut {
			reason = fmt.Sprintf("has not asked since generation %d", s.since)
		}
		reason = fmt.Sprintf("upstream %s: the worker at %s %s", s.upstream, key.from, reason)
		if why[key.owner] == "" || reason < why[key.owner] {
			why[key.owner] = reason // the same of many each time
		}
		last := int64(0)
		if c.goesBy != nil {
			last = c.goesBy.last
		}
		generation = min(generation, last)
	}
	for _, s := range want.sets {
		key := owner(s.upstream)
		if !asked[key] {
			return 0, "upstream " + s.upstream + ": Nginx has not asked for it"
		}
		if pending == "" {
			pending = why[key]
		}
	}
	if strange := z.strange(known, u.udp, now); strange != "" {
		return 0, cmp.Or(pending, strange)
	}
	return generation, pending
}

// advance finds out whether the client goes by the set that it was told last; if not it says what is missing.
func (c *client) advance(u unread, from netip.AddrPort, now time.Time) string {
	if c.cut {
		return "has not come for an answer that is too long for UDP"
	}
	if c.goesBy == c.set {
		return ""
	}
	if c.at.After(now) {
		return fmt.Sprintf("is being told generation %d", c.set.since)
	}
	waiting := u.udp[from]
	if c.tcp.IsValid() {
		var open bool
		if waiting, open = u.tcp[c.tcp]; !open {
			return "has closed the connection of its answer" // it may have done so before it had read it
		}
	}
	switch {
	case waiting > 0:
		c.readAt = time.Time{}
		return fmt.Sprintf("has not read generation %d", c.set.since)
	case c.readAt.IsZero():
		c.readAt = now
	}
	if !c.fewer {
		return fmt.Sprintf("looks up the new addresses of generation %d", c.set.since)
	}
	if now.Sub(c.readAt) < margin {
		return fmt.Sprintf("has only just read generation %d", c.set.since)
	}
	c.goesBy = c.set
	return ""
}

// strange reports a socket that is connected to ours and has not asked for an upstream yet: after a restart of lbd a
// worker that has looked before is one until it looks again.
func (z *Zone) strange(known map[netip.AddrPort]bool, open map[netip.AddrPort]uint64, now time.Time) string {
	for from := range z.strangers {
		if _, ok := open[from]; !ok || known[from] {
			delete(z.strangers, from)
		}
	}
	why := ""
	for from := range open {
		if known[from] {
			continue
		}
		since, ok := z.strangers[from]
		if !ok {
			since = now
			z.strangers[from] = now
		}
		if now.Sub(since) < patience {
			why = fmt.Sprintf("the worker at %s has not asked yet", from)
		}
	}
	return why
}
