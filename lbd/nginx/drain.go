package nginx

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/ngxconf"
)

// crew is the workers of one configuration, from the reload on that was asked for to replace them.
type crew struct {
	workers []process
	since   time.Time
}

// retire notes that a reload is to replace workers, which take connections still: a reload that they were noted for
// before has failed.
func (n *Nginx) retire(workers []process) {
	n.seenMu.Lock()
	defer n.seenMu.Unlock()
	n.retired = slices.DeleteFunc(n.retired, func(c crew) bool {
		return slices.ContainsFunc(c.workers, func(p process) bool { return slices.Contains(workers, p) })
	})
	n.retired = append(n.retired, crew{workers, time.Now()})
}

// former sorts draining workers by the reload that they date from: how many configurations they are of, and since when
// the oldest drains. Those that this lbd has not seen working, because they are older than it or an operator reloaded, are
// told apart by when they were started, and drain since they were first seen.
func (n *Nginx) former(working, draining []process) (generations int, since time.Time) {
	n.seenMu.Lock()
	defer n.seenMu.Unlock()
	var left []crew
	strangers := draining
	for _, c := range slices.Backward(n.retired) { // the newest is the one that has come to pass
		in := func(p process) bool { return slices.Contains(c.workers, p) }
		switch {
		case slices.ContainsFunc(strangers, in):
			generations, since = generations+1, c.since
			strangers = slices.DeleteFunc(slices.Clone(strangers), in)
		case !slices.ContainsFunc(working, in):
			continue // all have ended
		}
		left = append(left, c)
	}
	slices.Reverse(left)
	n.retired = left
	if len(strangers) == 0 {
		n.strangers = time.Time{}
		return generations, since
	}
	if n.strangers.IsZero() {
		n.strangers = time.Now()
	}
	if since.IsZero() || n.strangers.Before(since) {
		since = n.strangers
	}
	return generations + starts(strangers), since
}

// starts is how many times a master has started workers, at least one of which is in list: those of one configuration
// follow one another within milliseconds, and then the master sleeps for 100 ms (see prove).
func starts(list []process) (n int) {
	const apart = uint64(100 * time.Millisecond / tick)
	list = slices.SortedFunc(slices.Values(list), func(a, b process) int { return cmp.Compare(a.Start, b.Start) })
	for i, p := range list {
		if i == 0 || p.Start-list[i-1].Start >= apart {
			n++
		}
	}
	return n
}

// learned is what the last look at Nginx's configuration has told.
type learned struct {
	shutdown time.Duration // worker_shutdown_timeout, 0: none
	pidHint  string        // what to mend if Nginx seems not to run
}

// learn reads from t what is of use after the look.
func (n *Nginx) learn(s setup, t *tree) learned {
	l := learned{pidHint: n.pidHint(s, t)}
	set := func(st *ngxconf.Statement) {
		if st.Name() == "worker_shutdown_timeout" && len(st.Words) == 2 {
			l.shutdown = parseTime(st.Words[1].Text)
		}
	}
	s.globally(set)
	t.mainly(set)
	n.seenMu.Lock()
	defer n.seenMu.Unlock()
	n.learned = &l
	return l
}

// known returns what the last look has told; it looks if there was none.
func (n *Nginx) known(ctx context.Context) (learned, error) {
	n.seenMu.Lock()
	l := n.learned
	n.seenMu.Unlock()
	if l != nil {
		return *l, nil
	}
	s, err := n.setup(ctx)
	if err != nil {
		return learned{}, err
	}
	return n.learn(s, walk(s.conf, nil)), nil
}

var timeRE = regexp.MustCompile(`^\s*(\d+)(ms|[smhdw]?)`)

// parseTime reads a time as Nginx does ("1m 30s", "500ms", "10"); 0 when it is none.
func parseTime(text string) (d time.Duration) {
	units := map[string]time.Duration{"ms": time.Millisecond, "": time.Second, "s": time.Second, "m": time.Minute,
		"h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}
	for text != "" {
		m := timeRE.FindStringSubmatch(text)
		if m == nil {
			return 0
		}
		number, err := strconv.Atoi(m[1])
		if err != nil {
			return 0
		}
		d += time.Duration(number) * units[m[2]]
		text = strings.TrimSpace(text[len(m[0]):])
	}
	return d
}

// why says why Nginx counts as not running, and what to mend.
func (l learned) why(a *absence) string {
	if l.pidHint == "" {
		return a.why
	}
	return fmt.Sprintf("%s (%s)", a.why, l.pidHint)
}
