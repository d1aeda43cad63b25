package dev

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/pool"
)

// teller turns views into news: a line for each change from one to the next.
type teller struct {
	prev    *view           // the last complete one
	served  map[string]bool // in Nginx by the last apply told
	last    applied
	trouble string // why the last view was not complete

	counted   load.Counts // when failed requests were last told
	countedAt time.Time
}

// lossesEvery is the least time between two lines about failed requests.
const lossesEvery = 5 * time.Second

// applied is the last thing that lbd did to Nginx.
type applied struct {
	at     time.Time // zero: nothing yet
	change string    // like "-web2 +web3"
	text   string    // with how long it took, or where it stopped
}

// tell returns what has changed since the last complete view; nothing at the first.
func (t *teller) tell(v *view) (news []string) {
	add := func(format string, args ...any) { news = append(news, fmt.Sprintf(format, args...)) }
	trouble := t.trouble
	if t.trouble = ""; v.err != nil {
		if t.trouble = v.err.Error(); t.trouble != trouble {
			add("this picture is not complete: %s", printable(t.trouble))
		}
		return news
	}
	prev, reload := t.prev, t.apply(v)
	if t.prev = v; prev == nil {
		return nil
	}
	for i := range v.nodes {
		if text := nodeNews(&prev.nodes[i], &v.nodes[i]); text != "" {
			add("%s", text)
		}
	}
	if reload != "" {
		add("%s", reload)
	}
	if now := strings.Join(v.lb.Guard.Why, "; "); now != strings.Join(prev.lb.Guard.Why, "; ") {
		if now == "" {
			now = "it keeps nothing any more"
		}
		add("lbd's guard: %s", printable(now))
	}
	switch up := v.lb.Nginx.Running; {
	case up && !prev.lb.Nginx.Running:
		add("Nginx runs again")
	case !up && prev.lb.Nginx.Running:
		add("Nginx is not running: %s", printable(v.lb.Nginx.Error))
	}
	if lost := v.load.Sub(t.counted); lost.Failed > 0 && v.at.Sub(t.countedAt) >= lossesEvery {
		add("%s failed: %s", count(lost.Failed, "request"), reasons(lost.ByReason))
		t.counted, t.countedAt = v.load, v.at
	}
	return news
}

// apply notes an apply that was not told yet. One that has more to follow is told with that.
func (t *teller) apply(v *view) string {
	a := v.lb.LastApply
	if a.At == nil || a.At.Equal(t.last.at) {
		return ""
	}
	if a.Error != "" {
		t.last = applied{at: *a.At, text: fmt.Sprintf("stopped at %s: %s", a.Step, printable(a.Error))}
		return "lbd " + t.last.text
	}
	if v.lb.Running != v.lb.Wanted {
		return ""
	}
	now := serving(&v.lb)
	change := difference(t.served, now)
	t.served = now
	t.last = applied{at: *a.At, change: change, text: fmt.Sprintf("in %.0f ms (step %s)", a.DurationMS, a.Step)}
	return fmt.Sprintf("Nginx reloaded: %s %s", change, t.last.text)
}

// difference says who came and who went, like "-web2 +web3".
func difference(old, now map[string]bool) string {
	var words []string
	for _, id := range slices.Sorted(maps.Keys(old)) {
		if !now[id] {
			words = append(words, "-"+id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(now)) {
		if !old[id] {
			words = append(words, "+"+id)
		}
	}
	if len(words) == 0 {
		return "the same nodes"
	}
	return strings.Join(words, " ")
}

func nodeNews(prev, now *nodeView) string {
	switch {
	case now.killed && !prev.killed:
		return now.id + " killed: its connections are reset, its agent is silent"
	case prev.killed && !now.killed:
		return now.id + " started"
	case prev.state == now.state && (now.state != pool.Frozen || prev.why == now.why):
		return ""
	}
	why := printable(now.why)
	switch now.state {
	case "":
		return now.id + " is not in the pool"
	case pool.Active:
		return now.id + " is active"
	case pool.Frozen:
		return now.id + " frozen " + why
	case pool.Dead:
		return now.id + " is dead: its heartbeat has expired"
	}
	return strings.TrimSuffix(fmt.Sprintf("%s is %s: %s", now.id, now.state, why), ": ")
}

func reasons(by map[string]int64) string {
	var words []string
	for _, r := range slices.Sorted(maps.Keys(by)) {
		words = append(words, fmt.Sprintf("%s: %d", r, by[r]))
	}
	return strings.Join(words, ", ")
}

func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// printable makes foreign text fit for a line of a terminal.
func printable(s string) string { return cli.Printable(s, 200) }
