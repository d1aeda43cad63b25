package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/bazbeans/bazbeans/lbd/live"
	"github.com/bazbeans/bazbeans/lbd/live/lua"
)

// updates is what it costs to bring peers into Nginx through the lua engine's socket, without lbd on the way.
type updates struct {
	Large spread `json:"update"`             // of 1,000 peers: from the start of the update until it is confirmed
	First spread `json:"update_and_request"` // and until the first request after it is answered: a worker has read it by then

	Pushes  int       `json:"updates"`    // of a small upstream, under load
	Rate    float64   `json:"per_second"` // that were made
	Memory  []float64 `json:"rss_mib"`    // of all of Nginx, at equal distances
	Growth  float64   `json:"growth_mib"` // the most of the second half less the most of the first half
	Sent    int64     `json:"requests"`
	Failed  int64     `json:"failed"`
	Workers int       `json:"workers_replaced"`
}

const (
	largeUpdates = 300
	memoryLooks  = 100
	leastPushes  = 2 * memoryLooks
)

// pusher brings set after set into a front.
type pusher struct {
	client  *lua.Client
	message live.Message
}

// push changes one peer's weight and brings that in.
func (p *pusher) push(ctx context.Context) error {
	p.message.Generation++
	peers := p.message.Upstreams[0].Peers
	changed := &peers[int(p.message.Generation)%len(peers)]
	changed.Weight = 3 - changed.Weight // 1, 2, 1, …
	return p.client.Put(ctx, p.message.Encode())
}

func measureUpdates(ctx context.Context, s *site, o options, log io.Writer) (*updates, error) {
	many, err := startCrowd(ctx, s, manyPeers)
	if err != nil {
		return nil, err
	}
	u := &updates{Pushes: o.Pushes}
	if err = u.large(ctx, s, o, many); err != nil {
		return nil, err
	}
	fmt.Fprintf(log, "%s: %d peers: p50 %.2f, p95 %.2f, max %.2f ms\n", partUpdates, manyPeers, u.Large.P50, u.Large.P95, u.Large.Max)
	if err := u.small(ctx, s, o, many[:o.Nodes], log); err != nil {
		return nil, err
	}
	return u, nil
}

// take starts a front with lbd's lua engine, ends lbd, and goes on in its place.
func (c crowd) take(ctx context.Context, s *site, o options) (front, *pusher, error) {
	web, l, err := c.live(ctx, s, fmt.Sprintf("updates-%d", len(c)), usual, byLua, webOptions{lua: true, most: 8192}, o.lbd)
	if err != nil {
		return nil, nil, err
	}
	if err := l.proc.stop(); err != nil {
		return nil, nil, err
	}
	up := live.Upstream{Name: "app_backend"}
	for i, peer := range c {
		up.Peers = append(up.Peers, live.Peer{Slot: i, ID: peer.ID, Addr: peer.Addr, Weight: 1, MaxFails: 1, FailTimeout: 10 * time.Second})
	}
	// lbd moves the socket aside so that Nginx can bind its path anew.
	dir := filepath.Join(l.state, "live")
	p := &pusher{client: lua.NewClient(filepath.Join(dir, "live.sock"), filepath.Join(dir, "control.sock"))}
	p.message = live.Message{Generation: time.Now().UnixMilli(), Sum: "bench", Upstreams: []live.Upstream{up}}
	return web, p, nil
}

// large times updates of many peers.
func (u *updates) large(ctx context.Context, s *site, o options, c crowd) error {
	web, p, err := c.take(ctx, s, o)
	if err != nil {
		return err
	}
	var took, first []float64
	for range largeUpdates {
		began := time.Now()
		if err := p.push(ctx); err != nil {
			return err
		}
		took = append(took, ms(time.Since(began)))
		if _, err := get(ctx, web.addr(), "/"); err != nil {
			return err
		}
		first = append(first, ms(time.Since(began)))
	}
	u.Large, u.First = spreadOf(took), spreadOf(first)
	return nil
}

// small makes updates one after another, as fast as they are confirmed, and looks at Nginx's memory meanwhile.
func (u *updates) small(ctx context.Context, s *site, o options, c crowd, log io.Writer) error {
	web, p, err := c.take(ctx, s, o)
	if err != nil {
		return err
	}
	workers, err := web.tree()
	if err != nil {
		return err
	}
	report, err := underLoad(ctx, web, o, func(ctx context.Context) error { return u.push(ctx, web, p, log) })
	if err != nil {
		return err
	}
	u.Sent, u.Failed = report.Sent, report.Failed
	after, err := web.tree()
	u.Workers = replaced(workers, after)
	return err
}

func (u *updates) push(ctx context.Context, web front, p *pusher, log io.Writer) error {
	began := time.Now()
	for look := range memoryLooks {
		for range (look+1)*u.Pushes/memoryLooks - look*u.Pushes/memoryLooks {
			if err := p.push(ctx); err != nil {
				return err
			}
		}
		now, err := frontUse(web)
		if err != nil {
			return err
		}
		u.Memory = append(u.Memory, float64(now.rss)/(1<<20))
	}
	u.Rate = float64(u.Pushes) / time.Since(began).Seconds()
	half := len(u.Memory) / 2
	u.Growth = slices.Max(u.Memory[half:]) - slices.Max(u.Memory[:half])
	fmt.Fprintf(log, "%s: %d, %.0f a second; memory grew by %.2f MiB\n", partUpdates, u.Pushes, u.Rate, u.Growth)
	return nil
}
