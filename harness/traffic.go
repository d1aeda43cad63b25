package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// seen is what became of the traffic of one play.
type seen struct {
	requests int
	status   map[int]int
	broken   map[string]int // requests without an answer, by why
	went     map[string]int // answers by node
	conns    int            // that Nginx opened to the nodes
	byClient map[string]map[string]bool
	byURI    map[string]map[string]bool
	together map[string]int
}

func newSeen() *seen {
	return &seen{status: map[int]int{}, broken: map[string]int{}, went: map[string]int{},
		byClient: map[string]map[string]bool{}, byURI: map[string]map[string]bool{}}
}

// within bounds one request: a backend answers at once, and Nginx at the latest when it has tried all of them.
const within = 10 * time.Second

// answer is one answer of Nginx, or why there was none.
type answer struct {
	status int
	node   string
	err    error
}

// send sends the traffic of a case to Nginx at target, a request after the other, and then those at once.
func send(ctx context.Context, target string, s Send, scene *scene) *seen {
	got := newSeen()
	before := scene.conns.Load()
	clients := make([]*http.Client, max(s.Clients, 1))
	for i := range clients {
		clients[i] = newClient(i, len(clients) > 1)
		defer clients[i].CloseIdleConnections()
	}
	for n := range s.Requests {
		if ctx.Err() != nil {
			break
		}
		client, uri := n%len(clients), "/"+strconv.Itoa(n)
		if s.URIs > 0 {
			uri = "/" + strconv.Itoa(n%s.URIs)
		}
		a := ask(ctx, clients[client], target+uri)
		got.add(a)
		if a.node != "" {
			put(got.byClient, clientAddress(client), a.node)
			put(got.byURI, uri, a.node)
		}
	}
	got.conns = int(scene.conns.Load() - before)
	if s.Together > 0 {
		got.together = together(ctx, clients[0], target, s.Together, scene)
	}
	return got
}

func (got *seen) add(a answer) {
	got.requests++
	switch {
	case a.err != nil:
		got.broken[reason(a.err)]++
	default:
		got.status[a.status]++
		if a.node != "" {
			got.went[a.node]++
		}
	}
}

func put(m map[string]map[string]bool, key, node string) {
	if m[key] == nil {
		m[key] = map[string]bool{}
	}
	m[key][node] = true
}

// together sends n requests at once. Nodes answer none before all of them have arrived at one, or were answered by Nginx.
func together(ctx context.Context, client *http.Client, target string, n int, scene *scene) map[string]int {
	arrived, release := scene.hold(n)
	answers := make(chan answer, n)
	var sent sync.WaitGroup
	for i := range n {
		sent.Go(func() { answers <- ask(ctx, client, target+"/together/"+strconv.Itoa(i)) })
	}
	got := map[string]int{}
	count := func(a answer) {
		switch {
		case a.err != nil:
			got[reason(a.err)]++
		case a.node != "":
			got[a.node]++
		default:
			got[strconv.Itoa(a.status)]++
		}
	}
	answered := 0
	for waiting := 0; waiting+answered < n; {
		select {
		case <-arrived:
			waiting++
		case a := <-answers:
			count(a)
			answered++
		}
	}
	release()
	sent.Wait()
	for range n - answered {
		count(<-answers)
	}
	return got
}

// clientAddress is where requests of a client come from; ip_hash looks at the first three bytes of it.
func clientAddress(n int) string { return fmt.Sprintf("127.%d.%d.1", n/250+1, n%250) }

// newClient keeps its connection open. With an address of its own it needs Linux, where all of 127.0.0.0/8 is local.
func newClient(n int, ownAddress bool) *http.Client {
	d := &net.Dialer{}
	if ownAddress {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(clientAddress(n)), 0))
	}
	return &http.Client{
		Timeout:       within,
		Transport:     &http.Transport{DialContext: d.DialContext, MaxIdleConnsPerHost: 1},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func ask(ctx context.Context, client *http.Client, url string) answer {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return answer{err: err}
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return answer{err: err}
	}
	return answer{status: resp.StatusCode, node: resp.Header.Get(nodeHeader)}
}

// reason is the same text for the same trouble, whichever request it was.
func reason(err error) string {
	var timeout interface{ Timeout() bool }
	var number syscall.Errno
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return "none within " + within.String()
	case errors.As(err, &number):
		return number.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "Nginx closed the connection"
	}
	return err.Error()
}
