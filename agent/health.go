package agent

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// How many answers in a row freeze a node and bring it back, unless a check says otherwise. One is noise; coming back
// is slower than going, since a node without traffic always looks well.
const (
	fall = 2
	rise = 3
)

// whyMost is how much of one check's error goes into the reason, in characters, so that others fit in beside it.
const whyMost = 100

// health is what the node has against itself. Its reason is stable: the text of each cause is that of the moment it
// began, and the order is the agent's end, cpu, memory, then the checks by name.
type health struct {
	log     *slog.Logger
	changed chan struct{} // of one: holds a value when the reason may have changed

	mu          sync.Mutex
	last        pool.Metrics
	end         string // why the agent ends; "" while it does not
	cpu, memory gauge
	checks      map[string]*judge
}

func newHealth(log *slog.Logger, c *Config) *health {
	h := &health{
		log:     log,
		changed: make(chan struct{}, 1),
		cpu:     gauge{name: "cpu"},
		memory:  gauge{name: "memory"},
		checks:  map[string]*judge{},
	}
	h.setThresholds(c)
	return h
}

// gauge is one figure with a threshold.
type gauge struct {
	name      string
	threshold float64
	judge
}

func (g *gauge) see(percent float64, now time.Time) bool {
	why := ""
	if percent > g.threshold {
		why = fmt.Sprintf("%s %.1f%% is above %g%%", g.name, percent, g.threshold)
	}
	return g.hear(why, now)
}

// see takes a sample; judged or only kept, as the first is, which no interval lies behind.
func (h *health) see(m pool.Metrics, judged bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = m
	if !judged {
		return
	}
	for _, g := range []struct {
		*gauge
		percent float64
	}{{&h.cpu, m.CPU}, {&h.memory, m.Memory}} {
		if g.see(g.percent, time.Now()) {
			h.flapping(g.name, &g.judge)
		}
	}
}

// watch counts j as the check of that name from now on, in place of the one before; nil: there is none any more. A
// check that comes while the node is well must not freeze it: late says so.
func (h *health) watch(name string, j *judge, late bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.checks[name]
	switch {
	case j == nil:
		delete(h.checks, name)
	default:
		switch {
		case was != nil && was.why != "":
			j.fresh, j.why = true, was.why
		case !late:
			j.fresh, j.why = true, "not passed yet"
		}
		h.checks[name] = j
	}
	h.wake()
}

// result takes what a check came to.
func (h *health) result(name string, j *judge, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	why := ""
	if err != nil {
		why = "failed without a word"
		if text := cli.Printable(err.Error(), whyMost); text != "" {
			why = text
		}
	}
	if !j.hear(why, time.Now()) {
		return
	}
	h.flapping("check "+name, j)
	h.wake()
}

// flapping says once for each fall that the node is slow to come back, and why.
func (h *health) flapping(name string, j *judge) {
	if j.why != "" && j.flaps > 0 {
		h.log.Warn(name+" flaps: the node comes back later each time", "flaps", j.flaps, "good_in_a_row", j.needs())
	}
}

func (h *health) wake() {
	select {
	case h.changed <- struct{}{}:
	default: // a change waits already, and will find this one, too
	}
}

func (h *health) reason() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var whys []string
	for _, why := range []string{h.end, h.cpu.why, h.memory.why} {
		if why != "" {
			whys = append(whys, why)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(h.checks)) {
		if why := h.checks[name].why; why != "" {
			whys = append(whys, "check "+name+": "+why)
		}
	}
	return strings.Join(whys, "; ")
}

// progress says how far a check that is unwell has come back; "" for one that is well.
func (h *health) progress(j *judge) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return j.progress()
}

func (h *health) metrics() pool.Metrics {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

// ends puts the agent's end before all other causes.
func (h *health) ends(why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end = why
}

// inherit takes over what an earlier run of the agent had against the node's CPU or memory: no sample speaks against it
// yet. Checks are asked anew.
func (h *health) inherit(reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for why := range strings.SplitSeq(reason, "; ") {
		for _, g := range []*gauge{&h.cpu, &h.memory} {
			if strings.HasPrefix(why, g.name+" ") && strings.Contains(why, "% is above ") {
				g.why = why
			}
		}
	}
}

// setThresholds counts from the next sample on.
func (h *health) setThresholds(c *Config) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cpu.threshold, h.memory.threshold = c.CPUThreshold, c.MemoryThreshold
	for _, g := range []*gauge{&h.cpu, &h.memory} {
		g.fall, g.rise = c.ThresholdFall, c.ThresholdRise
	}
}
