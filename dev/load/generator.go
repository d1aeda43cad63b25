package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Generator makes one run of the schedule in its options.
type Generator struct {
	opts      Options
	addr      string
	get, post []byte

	next  atomic.Int64              // the slot of the schedule that the next free connection takes
	start time.Time                 // of the schedule; set before any connection works
	end   atomic.Pointer[time.Time] // of the schedule: the planned one until ctx is done before it; nil while unknown

	mu      sync.Mutex // for all below
	running bool       // start is set
	counts  Counts
	latency Histogram
	service Histogram
	late    Histogram
}

// New checks the options; nothing is sent before Run.
func New(opts Options) (*Generator, error) {
	opts.setDefaults()
	u, err := opts.check()
	if err != nil {
		return nil, fmt.Errorf("check load options: %w", err)
	}
	return &Generator{
		opts:   opts,
		addr:   address(u),
		get:    requestText(http.MethodGet, u, nil),
		post:   requestText(http.MethodPost, u, opts.Body),
		counts: Counts{ByMethod: map[string]Outcome{}, ByReason: map[string]int64{}, ByNode: map[string]int64{}},
	}, nil
}

// Run sends requests until Duration has passed or ctx is done, which is a
// normal end too. What is due by then is finished: Run returns at the latest
// two Timeouts later. A Generator runs once.
func (g *Generator) Run(ctx context.Context) (Report, error) {
	clients := make([]*client, g.opts.Conns)
	for i := range clients {
		alarm, err := newAlarm()
		if err != nil {
			return Report{}, fmt.Errorf("run load: %w", err)
		}
		defer alarm.close()
		clients[i] = &client{g: g, alarm: alarm}
	}
	if err := g.begin(); err != nil {
		return Report{}, err
	}
	var working sync.WaitGroup
	for _, c := range clients {
		working.Go(c.work)
	}
	end := g.waitForEnd(ctx)
	for _, c := range clients {
		c.alarm.wake()
	}
	working.Wait()

	g.mu.Lock()
	defer g.mu.Unlock()
	return Report{
		Rate:    g.opts.Rate,
		Seconds: end.Sub(g.start).Seconds(),
		Counts:  g.counts.clone(),
		Latency: g.latency.clone(),
		Service: g.service.clone(),
		Late:    g.late.clone(),
	}, nil
}

func (g *Generator) begin() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running {
		return errors.New("run load: this generator has run before")
	}
	g.running = true
	g.start = time.Now()
	if g.opts.Duration > 0 {
		end := g.start.Add(g.opts.Duration)
		g.end.Store(&end)
	}
	return nil
}

// waitForEnd returns the end of the schedule once it has come: the planned one,
// however late we wake, or when ctx was done before that.
func (g *Generator) waitForEnd(ctx context.Context) time.Time {
	planned := g.end.Load()
	if planned != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, *planned)
		defer cancel()
	}
	<-ctx.Done()
	now := time.Now()
	if planned != nil && !now.Before(*planned) {
		return *planned
	}
	g.end.Store(&now)
	return now
}

// Counts returns the counts so far. It may be called at any time.
func (g *Generator) Counts() Counts {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.counts.clone()
	if g.running {
		due := g.dueBy(g.lastArrival(time.Now()))
		c.Waiting = max(due-c.Sent-c.Dropped, 0)
	}
	return c
}

// lastArrival is now, or just before the end of the schedule once that has
// passed.
func (g *Generator) lastArrival(now time.Time) time.Time {
	if end := g.end.Load(); end != nil && now.After(*end) {
		return end.Add(-1)
	}
	return now
}

// due is when the request in slot n of the schedule is to be sent.
func (g *Generator) due(n int64) time.Time {
	return g.start.Add(time.Duration(math.Round(float64(n) / g.opts.Rate * float64(time.Second))))
}

// dueBy is how many requests are due at t or before.
func (g *Generator) dueBy(t time.Time) int64 {
	return int64(t.Sub(g.start).Seconds()*g.opts.Rate) + 1
}

// isPost picks the POSTs by a hash of the slot: with a plain rhythm (every
// second one) they would always fall to the same connections.
func (g *Generator) isPost(n int64) bool {
	h := uint64(n) + 0x9e3779b97f4a7c15 // splitmix64, by Sebastiano Vigna
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	h ^= h >> 31
	return float64(h>>11)/(1<<53) < g.opts.PostShare
}

func (g *Generator) sent(method string, late time.Duration, wasFree bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count(method, func(o *Outcome) { o.Sent++ })
	if wasFree {
		g.late.Record(late)
	}
}

func (g *Generator) done(s Sample) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.latency.Record(s.End.Sub(s.Scheduled))
	g.service.Record(s.End.Sub(s.Start))
	g.count(s.Method, func(o *Outcome) {
		if s.Repeated {
			o.Repeated++
		}
		if s.Err == nil {
			o.OK++
		} else {
			o.Failed++
		}
	})
	if s.Node != "" {
		g.counts.ByNode[s.Node]++
	}
	if s.Err != nil {
		g.counts.ByReason[string(s.Err.(*Error).Reason)]++
	}
}

func (g *Generator) count(method string, add func(*Outcome)) {
	o := g.counts.ByMethod[method]
	add(&o)
	g.counts.ByMethod[method] = o
	add(&g.counts.Outcome)
}

func (g *Generator) bump(n *int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	*n++
}
