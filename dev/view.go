package dev

import (
	"cmp"
	"context"
	"time"

	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/lbd"
	"github.com/bazbeans/bazbeans/pool"
)

// view is what one look at the site found. It is made to be drawn and compared, and refers to nothing that changes.
type view struct {
	at    time.Time
	up    time.Duration // since the site's start
	nodes []nodeView
	load  load.Counts
	rate  float64 // requests a second that the applications got, all of them
	lb    lbd.Status
	err   error // why some of it is missing

	median, slowest time.Duration // of the requests of the last second
}

type nodeView struct {
	id, addr string
	state    pool.State // "" when it is not in the pool
	why      string     // free text
	held     bool       // served against the pool's word
	killed   bool       // by us
	expires  time.Time  // of its heartbeat
	rate     float64    // requests a second
}

// watcher makes views. It belongs to one goroutine.
type watcher struct {
	site    *Site
	counts  func() load.Counts
	latency *latencies
	began   time.Time
	past    []mark // of the last second, oldest first
}

// mark is how many requests each node had got at a time.
type mark struct {
	at     time.Time
	served []int64
}

// rateOver is the time over which rates are taken.
const rateOver = time.Second

// look takes one view, within a second.
func (w *watcher) look(ctx context.Context) *view {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	v := &view{at: time.Now(), load: w.counts()}
	v.up = v.at.Sub(w.began)
	v.median, v.slowest = w.latency.read()
	known := map[string]*pool.Node{}
	snap, err := w.site.Pool().Snapshot(ctx)
	if err == nil {
		for i := range snap.Nodes {
			known[snap.Nodes[i].ID] = &snap.Nodes[i]
		}
	}
	v.lb, v.err = w.site.LBStatus(ctx)
	v.err = cmp.Or(err, v.err)
	by := map[string]*lbd.NodeStatus{}
	for i := range v.lb.Nodes {
		by[v.lb.Nodes[i].ID] = &v.lb.Nodes[i]
	}
	rates := w.rates(v.at)
	for i, n := range w.site.Nodes() {
		nv := nodeView{id: n.ID, addr: n.Addr.String(), killed: !n.Up(), rate: rates[i]}
		if p := known[n.ID]; p != nil {
			nv.state, nv.why, nv.expires = p.State(), p.Why(), p.Expires
			if p.Freeze != nil && nv.state == pool.Frozen {
				nv.why = "by " + p.Freeze.By
				if p.Freeze.Reason != "" {
					nv.why += ": " + p.Freeze.Reason
				}
			}
		}
		if b := by[n.ID]; b != nil {
			nv.held = b.Held
			if nv.state == pool.Active && b.State == string(pool.Faulty) {
				nv.state, nv.why = pool.Faulty, b.Why
			}
		}
		v.rate += nv.rate
		v.nodes = append(v.nodes, nv)
	}
	return v
}

// rates are requests a second of each node over the last second, or since the first look.
func (w *watcher) rates(now time.Time) []float64 {
	m := mark{at: now}
	for _, n := range w.site.Nodes() {
		m.served = append(m.served, n.Served())
	}
	w.past = append(w.past, m)
	for len(w.past) > 2 && now.Sub(w.past[1].at) >= rateOver {
		w.past = w.past[1:]
	}
	first := w.past[0]
	rates := make([]float64, len(m.served))
	if took := now.Sub(first.at).Seconds(); took > 0 {
		for i := range rates {
			rates[i] = float64(m.served[i]-first.served[i]) / took
		}
	}
	return rates
}
