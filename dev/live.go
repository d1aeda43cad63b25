package dev

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/dev/servers"
)

// redraw is the time between two looks.
const redraw = 250 * time.Millisecond

// showLive shows what happens on a site under load until ctx ends, q is pressed, or lbd fails: a picture on a
// terminal, else a line for each change.
func showLive(ctx context.Context, s *Site, clients load.Options, logs bool, stdin io.Reader, stdout io.Writer) error {
	pace := &latencies{}
	clients.OnDone = pace.add
	gen, err := load.New(clients)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		_, err := gen.Run(ctx)
		ended <- err
	}()
	w := &watcher{site: s, counts: gen.Counts, latency: pace, began: time.Now()}
	if scr := openTerminal(logs, stdin, stdout); scr != nil {
		err = liveScreen(ctx, w, scr)
	} else {
		err = liveLines(ctx, w, stdout)
	}
	stop()
	if runErr := <-ended; err == nil {
		err = runErr
	}
	c := gen.Counts()
	fmt.Fprintf(stdout, "%s, %d failed, %d repeated by the clients\n", count(c.Sent, "request"), c.Failed, c.Repeated)
	return err
}

// openTerminal is nil when there is none to draw on, or logs have it.
func openTerminal(logs bool, stdin io.Reader, stdout io.Writer) *screen {
	if logs {
		return nil
	}
	return openScreen(stdin, stdout)
}

func liveScreen(ctx context.Context, w *watcher, scr *screen) error {
	p := &picture{url: w.site.URL(), log: w.site.LogFile(), try: w.site.try(), colour: os.Getenv("NO_COLOR") == ""}
	ctx, stop := context.WithCancel(ctx)
	keys := make(chan byte)
	var reading sync.WaitGroup
	defer reading.Wait() // a key of the shell's is not for us
	if scr.in != nil {
		p.keys = fmt.Sprintf("a key from 1 to %d kills that node, or starts it again; q quits", min(len(w.site.Nodes()), 9))
		reading.Go(func() { readKeys(ctx, scr, keys) })
	}
	defer stop()
	defer scr.close() // first: a second Ctrl-C ends us at once
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	var t teller
	var news []told
	for {
		v := w.look(ctx)
		for _, text := range t.tell(v) {
			news = append(news, told{v.at, text})
		}
		news = news[max(0, len(news)-200):]
		p.width, p.height = scr.size()
		scr.draw(p.draw(v, &t.last, news), p.height)
		select {
		case <-ctx.Done():
			return nil
		case err := <-w.site.Failed():
			return err
		case k := <-keys:
			if k == 'q' {
				return nil
			}
			if err := w.site.toggle(ctx, int(k-'0')); err != nil {
				news = append(news, told{time.Now(), err.Error()})
			}
		case <-tick.C:
		}
	}
}

// readKeys hands on keys until ctx ends.
func readKeys(ctx context.Context, scr *screen, keys chan<- byte) {
	for ctx.Err() == nil {
		k, err := scr.key()
		if err != nil {
			return
		}
		if k == 0 {
			continue
		}
		select {
		case keys <- k:
		case <-ctx.Done():
		}
	}
}

// toggle kills node n, counted from 1, or starts it when it was killed. Other numbers do nothing.
func (s *Site) toggle(ctx context.Context, n int) error {
	if n < 1 || n > len(s.nodes) {
		return nil
	}
	if node := s.nodes[n-1]; !node.Up() {
		return node.start(ctx)
	} else {
		return node.kill()
	}
}

func liveLines(ctx context.Context, w *watcher, out io.Writer) error {
	fmt.Fprintln(out, "in a second terminal:")
	for _, c := range w.site.try() {
		fmt.Fprintln(out, "  "+c)
	}
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	var t teller
	for {
		v := w.look(ctx)
		if ctx.Err() != nil {
			return nil // it was cut short
		}
		for _, text := range t.tell(v) {
			fmt.Fprintln(out, v.at.Format(time.TimeOnly)+"  "+text)
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-w.site.Failed():
			return err
		case <-tick.C:
		}
	}
}

// try are commands for a second terminal. They name this site's Redis unless bbctl finds it by itself.
func (s *Site) try() []string {
	ctl := "bbctl"
	if beside := filepath.Join(filepath.Dir(os.Args[0]), ctl); exists(beside) {
		ctl = beside
	}
	node := s.nodes[min(1, len(s.nodes)-1)].ID
	url := ""
	if s.opts.RedisPort != 6379 || hasConfig() {
		url = " --redis-url " + s.RedisURL()
	}
	var lines []string
	for _, words := range []string{"freeze " + node + " --wait", "unfreeze " + node, "list-nodes", "events --follow", "lbs"} {
		lines = append(lines, ctl+" "+words+url)
	}
	return append(lines, "curl "+s.URL(), "curl http://"+servers.Loopback(s.opts.StatusPort)+"/status")
}

// hasConfig says whether bbctl has a config file of this user, which may name another site's Redis.
func hasConfig() bool {
	dir, err := os.UserConfigDir()
	return err == nil && exists(filepath.Join(dir, "bazbeans", "config.yaml"))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// latencies are those of the requests of the last second.
type latencies struct {
	mu        sync.Mutex
	since     time.Time
	now, last load.Histogram
}

func (l *latencies) add(s load.Sample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.End.Sub(l.since) >= time.Second {
		l.last, l.now, l.since = l.now, load.Histogram{}, s.End
	}
	l.now.Record(s.End.Sub(s.Scheduled))
}

// read returns the median and the longest of the last whole second.
func (l *latencies) read() (median, longest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last.Quantile(.5), l.last.Max()
}
