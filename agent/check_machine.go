package agent

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/disk"
	"github.com/shirou/gopsutil/v3/load"
	"go.yaml.in/yaml/v3"

	"github.com/bazbeans/bazbeans/conf"
)

// DiskCheck wants space on a file system.
type DiskCheck struct {
	Path    string `yaml:"path"`     // any on it, absolute
	MinFree Amount `yaml:"min_free"` // for users other than root
}

func (c *DiskCheck) prepare(host) (probe, error) {
	var errs []error
	if !filepath.IsAbs(c.Path) {
		errs = append(errs, fmt.Errorf("path: %q is not absolute", c.Path))
	}
	if c.MinFree == (Amount{}) {
		errs = append(errs, errors.New("min_free: say how much, like 10% or 5GiB"))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return func(ctx context.Context) error {
		u, err := disk.UsageWithContext(ctx, c.Path)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Path, err)
		}
		return c.MinFree.want(c.Path, u.Free, u.Used+u.Free)
	}, nil
}

// Amount is a share of the whole or a number of bytes: 10%, 500MB, 5GiB.
type Amount struct {
	Percent float64
	Bytes   uint64
}

var units = []struct {
	name string
	size float64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"T", 1 << 40}, {"B", 1}}

// UnmarshalYAML reads one of its forms; K, M, G and T alone are powers of 1024, as in df -h.
func (a *Amount) UnmarshalYAML(n *yaml.Node) error {
	text := strings.TrimSpace(n.Value)
	if share, ok := strings.CutSuffix(text, "%"); ok {
		if p, err := strconv.ParseFloat(strings.TrimSpace(share), 64); err == nil && p > 0 && p < 100 {
			*a = Amount{Percent: p}
			return nil
		}
	}
	for _, u := range units {
		if figure, ok := strings.CutSuffix(text, u.name); ok {
			if v, err := strconv.ParseFloat(strings.TrimSpace(figure), 64); err == nil && v > 0 && v*u.size < 1<<60 {
				*a = Amount{Bytes: uint64(v * u.size)}
				return nil
			}
			break
		}
	}
	return conf.Errorf(n, "want a share or a size like 10%%, 500MB or 5GiB")
}

func (a Amount) String() string {
	if a.Percent > 0 {
		return fmt.Sprintf("%g%%", a.Percent)
	}
	return bytesText(a.Bytes)
}

// want returns an error when less than a is free. The share free is rounded down, so that it never reads as enough.
func (a Amount) want(path string, free, whole uint64) error {
	if a.Percent > 0 {
		if is := 100 * float64(free) / max(1, float64(whole)); is < a.Percent {
			return fmt.Errorf("%s: %.1f%% free, want %s", path, math.Floor(10*is)/10, a)
		}
	} else if free < a.Bytes {
		return fmt.Errorf("%s: %s free, want %s", path, bytesText(free), a)
	}
	return nil
}

func bytesText(n uint64) string {
	for i := 3; i >= 0; i-- {
		if u := units[i]; float64(n) >= u.size {
			return fmt.Sprintf("%.3g %s", float64(n)/u.size, u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// LoadCheck bounds the load average of one minute.
type LoadCheck struct {
	PerCore float64 `yaml:"per_core"` // most for each core
}

func (c *LoadCheck) prepare(host) (probe, error) {
	if !(c.PerCore > 0 && c.PerCore <= 1000) {
		return nil, fmt.Errorf("per_core: %v is not a number above 0, like 2", c.PerCore)
	}
	return func(ctx context.Context) error {
		avg, err := load.AvgWithContext(ctx)
		if err != nil {
			return fmt.Errorf("read load: %w", err)
		}
		cores, err := cpu.CountsWithContext(ctx, true)
		if err != nil || cores < 1 {
			return fmt.Errorf("count cores: %d, %w", cores, err)
		}
		return c.want(avg.Load1, cores)
	}, nil
}

func (c *LoadCheck) want(load float64, cores int) error {
	if is := load / float64(cores); is > c.PerCore {
		return fmt.Errorf("load %.2f on %d cores is %.2f each, want %g at most", load, cores, is, c.PerCore)
	}
	return nil
}
