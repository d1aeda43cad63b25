package nginxtest

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/dev/load/loadtest"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// rate is how many requests a second the traffic has: enough to meet every moment of a reload.
const rate = 200

// traffic is constant GETs and POSTs to a balancer, as many clients with keep-alive connections would send.
type traffic struct {
	*loadtest.Traffic
	t testing.TB
}

func (b *balancer) traffic() *traffic {
	b.s.t.Helper()
	// How long an answer takes on a machine with other work says nothing; that it fails, or never comes, does.
	opts := load.Options{URL: "http://" + b.nginx.Listen[0] + "/", Rate: rate, Conns: 8, PostShare: 0.25, Body: []byte("an order"),
		Timeout: soon, MaxWaiting: rate * int(soon.Seconds())}
	return &traffic{loadtest.Start(b.s.t, opts), b.s.t}
}

// wantReaches waits until each of the nodes has answered requests that came after this call.
func (tr *traffic) wantReaches(ids ...string) {
	tr.t.Helper()
	before := tr.Counts()
	serverstest.Eventually(tr.t, soon, func() error {
		since := tr.Counts().Sub(before)
		for _, id := range ids {
			if since.ByNode[id] < 5 {
				return fmt.Errorf("answers since then %v, want some of %v", since.ByNode, ids)
			}
		}
		return nil
	})
}

// goOn waits until the traffic of so long a time has been answered: the clock of stories that need one.
func (tr *traffic) goOn(d time.Duration) {
	tr.t.Helper()
	want := tr.Counts().Sent + int64(d.Seconds()*rate)
	serverstest.Eventually(tr.t, d+soon, func() error {
		if got := tr.Counts().Sent; got < want {
			return fmt.Errorf("%d requests sent, want %d", got, want)
		}
		return nil
	})
}

// wantNoHarm ends the traffic. No GET may have failed, nor a POST but for one cause: Nginx before 1.27.4 closes idle
// keep-alive connections at a reload without a word, and a POST that is on its way then may not be repeated.
func (tr *traffic) wantNoHarm() load.Report {
	tr.t.Helper()
	r := tr.End()
	get, post := r.ByMethod[http.MethodGet], r.ByMethod[http.MethodPost]
	tr.t.Logf("%d GETs, %d of them repeated; %d POSTs, %d failed at reloads", get.Sent, get.Repeated, post.Sent, post.Failed)
	if get.Failed > 0 || get.Sent == 0 || post.Sent == 0 || r.Failed != r.ByReason[string(load.ReasonClosed)] || r.Dropped > 0 {
		tr.t.Errorf("traffic was harmed: %+v", r.Counts)
	}
	return r
}

// wantNoMore wants that no request has begun at the node after t.
func (n *node) wantNoMore(after time.Time) {
	n.s.t.Helper()
	if late := n.app.Starts(after); len(late) > 0 {
		n.s.t.Errorf("%d requests began at %s after that, the last %s later", len(late), n.id, late[len(late)-1].Sub(after))
	}
}
