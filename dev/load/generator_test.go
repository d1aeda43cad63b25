package load_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

func TestCountsAgreeWithTheBackend(t *testing.T) {
	b := startBackend(t, "n1")
	r := run(t, b.Addr(), 400, load.Options{Rate: 2000, Conns: 8, PostShare: 0.25, Body: []byte("body")})
	if r.OK != 400 || r.ByNode["n1"] != 400 || b.Served() != 400 || r.Connects > 8 || len(r.ByReason) != 0 {
		t.Errorf("%+v, the backend served %d; want 400 of each over 8 connections", r.Counts, b.Served())
	}
	get, post := r.ByMethod[http.MethodGet], r.ByMethod[http.MethodPost]
	if get.Sent+post.Sent != 400 || get.OK+post.OK != 400 || post.Sent < 70 || post.Sent > 130 {
		t.Errorf("GET %+v and POST %+v, want 400 together, about a quarter POST", get, post)
	}
	if r.Seconds != 0.2 || r.Rate != 2000 {
		t.Errorf("schedule of %v s at %v, want 0.2 s at 2000", r.Seconds, r.Rate)
	}
}

// stalling returns a script that answers nothing until release was called.
func stalling(t *testing.T) (s *script, release func()) {
	stalled := make(chan struct{})
	release = sync.OnceFunc(func() { close(stalled) })
	s = serve(t, func(int, *http.Request) (string, after) {
		<-stalled
		return ok, keep
	})
	t.Cleanup(release)
	return s, release
}

// start begins a run; wait returns its report.
func start(t *testing.T, ctx context.Context, opts load.Options) (g *load.Generator, wait func() load.Report) {
	t.Helper()
	g, err := load.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	reports := make(chan load.Report, 1)
	go func() {
		r, err := g.Run(ctx)
		if err != nil {
			t.Error(err)
		}
		reports <- r
	}()
	return g, func() load.Report { return <-reports }
}

func TestStalledServerDoesNotSlowArrivals(t *testing.T) {
	s, release := stalling(t)
	var mu sync.Mutex
	var samples []load.Sample
	g, wait := start(t, t.Context(), load.Options{
		URL: "http://" + s.addr, Rate: 1000, Conns: 2, Duration: 200 * time.Millisecond,
		OnDone: func(s load.Sample) {
			mu.Lock()
			defer mu.Unlock()
			samples = append(samples, s)
		},
	})
	serverstest.Eventually(t, time.Minute, func() error {
		if c := g.Counts(); c.Waiting < 50 || c.Sent != 2 {
			return fmt.Errorf("%d waiting and %d sent, want 50 and 2", c.Waiting, c.Sent)
		}
		return nil
	})
	released := time.Now()
	release()
	r := wait()
	if r.OK != 200 {
		t.Fatalf("%+v, want 200 OK", r.Counts)
	}

	slices.SortFunc(samples, func(a, b load.Sample) int { return a.Scheduled.Compare(b.Scheduled) })
	for i, s := range samples {
		if want := time.Duration(i) * time.Millisecond; s.Scheduled.Sub(samples[0].Scheduled) != want {
			t.Fatalf("request %d was due %v after the first, want %v", i, s.Scheduled.Sub(samples[0].Scheduled), want)
		}
		if s.Scheduled.Before(released) && s.End.Before(released) {
			t.Errorf("request %d ended before the server answered anything", i)
		}
	}
	if stalled := released.Sub(samples[0].Scheduled); r.Latency.Max() < stalled {
		t.Errorf("latency up to %v after a stall of %v: the wait does not show", r.Latency.Max(), stalled)
	}
}

func TestTooManyWaitingAreDropped(t *testing.T) {
	s, release := stalling(t)
	g, wait := start(t, t.Context(), load.Options{URL: "http://" + s.addr, Rate: 1000, Conns: 1, MaxWaiting: 5, Duration: 100 * time.Millisecond})
	serverstest.Eventually(t, time.Minute, func() error {
		if c := g.Counts(); c.Waiting < 90 {
			return fmt.Errorf("%d waiting, want 90", c.Waiting)
		}
		return nil
	})
	release()
	r := wait()
	// One was sent before the stall and 90 were waiting when it ended. Of them 5 at
	// the most could still be sent, and the last 9 of the schedule.
	if r.Dropped < 85 || r.Sent+r.Dropped != 100 || r.OK != r.Sent {
		t.Errorf("%+v, want at least 85 of 100 dropped", r.Counts)
	}
}

// With one connection that hangs until its time-out, a run ends within two
// time-outs of its schedule, and says what it did not send.
func TestRunEndsThoughRequestsWait(t *testing.T) {
	s, _ := stalling(t)
	r := run(t, s.addr, 500, load.Options{Rate: 5000, Timeout: 20 * time.Millisecond, MaxWaiting: 1000})
	late := r.ByReason["connect"] // a machine that stands still may have no time left for that
	if r.Failed != r.Sent || r.ByReason["timeout"]+late != r.Sent || r.Connects != r.Sent-late || r.Dropped < 450 {
		t.Errorf("%+v, want time-outs, each with its connection given up, and the rest dropped", r.Counts)
	}
}

func TestRunUntilCancelled(t *testing.T) {
	b := startBackend(t, "n1")
	ctx, cancel := context.WithCancel(t.Context())
	g, wait := start(t, ctx, load.Options{URL: "http://" + b.Addr() + "/x", Rate: 1000})
	serverstest.Eventually(t, time.Minute, func() error {
		if c := g.Counts(); c.OK < 50 {
			return fmt.Errorf("%d answered, want 50", c.OK)
		}
		return nil
	})
	cancel()
	r, c := wait(), g.Counts()
	if r.OK < 50 || r.OK != r.Sent || r.Sent != b.Served() || c.Waiting != 0 || c.Sent != r.Sent {
		t.Errorf("%+v, then %+v; want all that were sent to be answered", r.Counts, c)
	}
	if _, err := g.Run(t.Context()); err == nil {
		t.Error("a second Run: no error")
	}
}

func TestReloadOfNginxInTheMiddle(t *testing.T) {
	var conf strings.Builder
	for i := range 2 {
		fmt.Fprintf(&conf, "server %s;\n", startBackend(t, fmt.Sprintf("n%d", i)).Addr())
	}
	n := serverstest.Nginx(t, servers.NginxOptions{Files: map[string]string{
		"conf.d/upstream.conf": "upstream app_backend {\nkeepalive 8;\n" + conf.String() + "}\n",
	}})
	var answered int
	var mu sync.Mutex
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	g, wait := start(t, ctx, load.Options{URL: "http://" + n.Listen[0], Rate: 1000, Conns: 16, PostShare: 0.5, Body: []byte("body"), OnDone: func(load.Sample) {
		mu.Lock()
		defer mu.Unlock()
		if answered++; answered == 300 || answered == 600 {
			if err := syscall.Kill(n.Master(), syscall.SIGHUP); err != nil {
				t.Error(err)
			}
		}
	}})
	serverstest.Eventually(t, time.Minute, func() error {
		if c := g.Counts(); c.Sent < 1000 || c.Connects <= 16 {
			return fmt.Errorf("%d requests, %d connections opened: old workers have not closed theirs", c.Sent, c.Connects)
		}
		return nil
	})
	cancel()
	r := wait()
	t.Logf("%+v", r.Counts)
	// A reload closes idle connections: some requests may be repeated, and of the
	// POSTs some may fail. Nothing else may happen to any.
	if r.Failed != r.ByReason["closed"] || r.ByMethod[http.MethodGet].Failed != 0 || r.ByMethod[http.MethodPost].Repeated != 0 {
		t.Errorf("%+v, want no failure but of POSTs on a closed connection", r.Counts)
	}
	if got := r.ByNode["n0"] + r.ByNode["n1"]; got != r.OK || r.ByNode["n0"] == 0 || r.ByNode["n1"] == 0 {
		t.Errorf("answers by node %v, want %d over both", r.ByNode, r.OK)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := load.Options{URL: "http://127.0.0.1:1/", Rate: 1}
	for name, change := range map[string]func(*load.Options){
		"no url":       func(o *load.Options) { o.URL = "" },
		"https":        func(o *load.Options) { o.URL = "https://127.0.0.1/" },
		"bad url":      func(o *load.Options) { o.URL = "http://%zz" },
		"no rate":      func(o *load.Options) { o.Rate = 0 },
		"post share":   func(o *load.Options) { o.PostShare = 1.1 },
		"connections":  func(o *load.Options) { o.Conns = -1 },
		"duration":     func(o *load.Options) { o.Duration = -1 },
		"max. waiting": func(o *load.Options) { o.MaxWaiting = -1 },
	} {
		o := good
		change(&o)
		if _, err := load.New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := load.New(good); err != nil {
		t.Error(err)
	}
}

func TestReportAsJSON(t *testing.T) {
	r := run(t, startBackend(t, "n1").Addr(), 10, load.Options{})
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Rate    float64
		Sent    int
		OK      int
		Seconds float64          `json:"duration_s"`
		ByNode  map[string]int64 `json:"by_node"`
		Latency map[string]float64
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Rate != 1000 || got.Sent != 10 || got.OK != 10 || got.ByNode["n1"] != 10 || got.Seconds != 0.01 ||
		got.Latency["count"] != 10 || got.Latency["p95_ms"] <= 0 {
		t.Errorf("%s", text)
	}
}

func TestCountsSince(t *testing.T) {
	before := load.Counts{
		Outcome: load.Outcome{Sent: 3, OK: 2, Failed: 1}, Waiting: 9, Connects: 2,
		ByMethod: map[string]load.Outcome{"GET": {Sent: 3, OK: 2, Failed: 1}},
		ByReason: map[string]int64{"closed": 1}, ByNode: map[string]int64{"n1": 2},
	}
	now := load.Counts{
		Outcome: load.Outcome{Sent: 8, OK: 7, Failed: 1, Repeated: 1}, Waiting: 4, Dropped: 1, Connects: 3, Reopened: 1,
		ByMethod: map[string]load.Outcome{"GET": {Sent: 7, OK: 6, Failed: 1, Repeated: 1}, "POST": {Sent: 1, OK: 1}},
		ByReason: map[string]int64{"closed": 1}, ByNode: map[string]int64{"n1": 2, "n2": 5},
	}
	want := load.Counts{
		Outcome: load.Outcome{Sent: 5, OK: 5, Repeated: 1}, Waiting: 4, Dropped: 1, Connects: 1, Reopened: 1,
		ByMethod: map[string]load.Outcome{"GET": {Sent: 4, OK: 4, Repeated: 1}, "POST": {Sent: 1, OK: 1}},
		ByReason: map[string]int64{}, ByNode: map[string]int64{"n2": 5},
	}
	if got := fmt.Sprintf("%+v", now.Sub(before)); got != fmt.Sprintf("%+v", want) {
		t.Errorf("\n got %s\nwant %+v", got, want)
	}
}
