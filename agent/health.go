package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/pool"
)

// How many samples in a row freeze a node and bring it back. One sample is noise; coming back is slower than going,
// since a node without traffic always looks well.
const (
	fall = 2
	rise = 3
)

// whyMost is how much of one check's error goes into the reason, in characters, so that others fit in beside it.
const whyMost = 100

// health judges samples and the results of checks. Its reason is stable: the text of each cause is that of the moment
// it began, and the order is cpu, memory, then the checks by name.
type health struct {
	changed chan struct{} // of one: holds a value when the reason may have changed

	mu          sync.Mutex
	last        pool.Metrics
	cpu, memory gauge
	failing     map[string]string // check -> why
}

func newHealth(cpu, memory float64) *health {
	return &health{
		changed: make(chan struct{}, 1),
		cpu:     gauge{name: "cpu", threshold: cpu},
		memory:  gauge{name: "memory", threshold: memory},
		failing: map[string]string{},
	}
}

// gauge is one figure with a threshold.
type gauge struct {
	name         string
	threshold    float64
	above, below int    // samples in a row
	why          string // "" while well
}

func (g *gauge) judge(percent float64) {
	if percent > g.threshold {
		g.above, g.below = g.above+1, 0
	} else {
		g.above, g.below = 0, g.below+1
	}
	switch {
	case g.why == "" && g.above >= fall:
		g.why = fmt.Sprintf("%s %.1f%% is above %g%%", g.name, percent, g.threshold)
	case g.why != "" && g.below >= rise:
		g.why = ""
	}
}

// see takes a sample; judged or only kept, as the first is, which no interval lies behind.
func (h *health) see(m pool.Metrics, judged bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = m
	if judged {
		h.cpu.judge(m.CPU)
		h.memory.judge(m.Memory)
	}
}

// result takes what a check came to: it is believed at once, either way.
func (h *health) result(name string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, failed := h.failing[name]
	switch {
	case err == nil && failed:
		delete(h.failing, name)
	case err != nil && !failed:
		h.failing[name] = cli.Printable(err.Error(), whyMost)
	default:
		return
	}
	select {
	case h.changed <- struct{}{}:
	default: // a change waits already, and will find this one, too
	}
}

func (h *health) reason() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var whys []string
	for _, g := range []gauge{h.cpu, h.memory} {
		if g.why != "" {
			whys = append(whys, g.why)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(h.failing)) {
		whys = append(whys, "check "+name+": "+h.failing[name])
	}
	return strings.Join(whys, "; ")
}

func (h *health) metrics() pool.Metrics {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

// setThresholds counts from the next sample on.
func (h *health) setThresholds(cpu, memory float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cpu.threshold, h.memory.threshold = cpu, memory
}
