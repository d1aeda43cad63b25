package agent

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/disk"
	"github.com/shirou/gopsutil/v3/mem"

	"github.com/bazbeans/bazbeans/pool"
)

// system samples this machine. It keeps its own last reading of the CPUs, since gopsutil's is shared by the process:
// two agents in one, or a program that asks as well, would cut each other's interval short.
type system struct {
	dir string // whose file system is "the disk"; "/" when it is missing

	mu   sync.Mutex
	last cpu.TimesStat // zero at first: the first figure is the average since boot
}

// sample reads three files of /proc or their like, and one statfs: well below a millisecond.
func (s *system) sample(ctx context.Context) (pool.Metrics, error) {
	times, err := cpu.TimesWithContext(ctx, false)
	if err != nil {
		return pool.Metrics{}, fmt.Errorf("read cpu times: %w", err)
	}
	if len(times) == 0 {
		return pool.Metrics{}, fmt.Errorf("read cpu times: none found")
	}
	memory, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return pool.Metrics{}, fmt.Errorf("read memory: %w", err)
	}
	usage, err := disk.UsageWithContext(ctx, s.dir)
	if err != nil {
		if usage, err = disk.UsageWithContext(ctx, "/"); err != nil {
			return pool.Metrics{}, fmt.Errorf("read disk: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := pool.Metrics{CPU: busy(s.last, times[0]), Disk: usage.UsedPercent}
	s.last = times[0]
	if memory.Total > 0 {
		// As psutil does, which the original system asks: what is available counts as free, caches for the most part too.
		m.Memory = 100 * (1 - float64(memory.Available)/float64(memory.Total))
	}
	return m, nil
}

// busy is the share of time between two readings that the CPUs did not idle, in percent. Time of guests is part of
// user time.
func busy(from, to cpu.TimesStat) float64 {
	idle := func(t cpu.TimesStat) float64 { return t.Idle + t.Iowait }
	all := func(t cpu.TimesStat) float64 {
		return t.User + t.Nice + t.System + t.Irq + t.Softirq + t.Steal + idle(t)
	}
	total := all(to) - all(from)
	if total <= 0 {
		return 0
	}
	return 100 * (1 - (idle(to)-idle(from))/total)
}

// bounds makes figures of any sampler fit to be written: 0 to 100, in tenths.
func bounds(m pool.Metrics) pool.Metrics {
	fit := func(v float64) float64 {
		if math.IsNaN(v) {
			return 0
		}
		return math.Round(10*max(0, min(v, 100))) / 10
	}
	return pool.Metrics{CPU: fit(m.CPU), Memory: fit(m.Memory), Disk: fit(m.Disk)}
}
