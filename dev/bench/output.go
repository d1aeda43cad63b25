package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/dev/load/plot"
)

// What the project has promised of lbd against the floor, at the median and at the 95th percentile of the drain.
const (
	targetP50 = 1.1
	targetP95 = 1.3
)

func jsonFile(dir string) string { return filepath.Join(dir, "bench.json") }
func svgFile(dir string) string  { return filepath.Join(dir, "bench.svg") }

// save writes the JSON and the picture.
func (res *results) save(dir string) error {
	for name, write := range map[string]func(io.Writer) error{jsonFile(dir): res.writeJSON, svgFile(dir): res.chart().WriteSVG} {
		file, err := os.Create(name)
		if err != nil {
			return fmt.Errorf("save results: %w", err)
		}
		err = write(file)
		if e := file.Close(); err == nil {
			err = e
		}
		if err != nil {
			return fmt.Errorf("save results in %s: %w", name, err)
		}
	}
	return nil
}

func (res *results) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(res)
}

// chart shows every sample: all drains, then all ways back.
func (res *results) chart() plot.Chart {
	c := plot.Chart{
		Title:    "Freeze and unfreeze under load",
		Subtitle: res.setting() + "; " + res.machine(),
		Axis:     "drain: write to the last request on the frozen node; back: write to the first one after unfreeze",
	}
	for _, out := range res.Contenders {
		c.Series = append(c.Series, plot.Series{Name: "drain, " + out.Name, Values: out.drains()})
	}
	for _, out := range res.Contenders {
		c.Series = append(c.Series, plot.Series{Name: "back, " + out.Name, Values: out.backs()})
	}
	return c
}

func (res *results) setting() string {
	o := res.Options
	return fmt.Sprintf("%g requests/s over %d connections, %g %% POST, %d nodes", o.Rate, o.Conns, 100*o.Post, o.Nodes)
}

func (res *results) machine() string {
	m := res.Machine
	return fmt.Sprintf("nginx %s, redis %s, %s, %d processors", m.Nginx, m.Redis, m.Kernel, m.Processors)
}

// writeTable writes the summary for people.
func (res *results) writeTable(w io.Writer) error {
	t := table{tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)}
	t.line("%s", res.setting())
	t.line("%s", res.machine())
	if res.Interrupted {
		t.line("Interrupted: this is what was measured until then.")
	}
	t.line("")
	t.row("", "cycles", "drain p50", "p95", "max", "back p50", "p95", "max", "CPU %", "RSS MiB")
	for _, out := range res.Contenders {
		cells := []string{out.Name, strconv.Itoa(out.Cycles)}
		for _, v := range []float64{out.Drain.P50, out.Drain.P95, out.Drain.Max, out.Back.P50, out.Back.P95, out.Back.Max} {
			cells = append(cells, fmt.Sprintf("%.1f", v))
		}
		if p := out.Process; p != nil {
			cells = append(cells, fmt.Sprintf("%.2f", p.CPU), fmt.Sprintf("%.1f", p.RSS))
		} else {
			cells = append(cells, "-", "-")
		}
		t.row(cells...)
	}
	t.line("")
	t.row("requests", "GET", "failed", "repeated", "POST", "failed", "reopened", "dropped", "failed cycles")
	for _, out := range res.Contenders {
		r := out.Requests
		t.row(out.Name, count(r.Get.Sent), count(r.Get.Failed), count(r.Get.Repeated), count(r.Post.Sent), count(r.Post.Failed),
			count(r.Reopened), count(r.Dropped), strconv.Itoa(len(out.Errors)))
	}
	t.line("")
	res.notes(t)
	return t.Flush()
}

// notes is what stands below the figures.
func (res *results) notes(t table) {
	for _, c := range res.Against {
		t.line("%s / floor: drain p50 %v, p95 %v; back p50 %v, p95 %v", c.Name, c.DrainP50, c.DrainP95, c.BackP50, c.BackP95)
	}
	t.line("Wanted of lbd: drain p50 within %g of the floor's, p95 within %g; no failed GET, no more failed POSTs than the floor.", targetP50, targetP95)
	for _, out := range res.Contenders {
		if len(out.Steps) == 0 {
			continue
		}
		var steps []string
		for _, s := range out.Steps {
			steps = append(steps, fmt.Sprintf("%s %.1f", s.Step, s.Mean))
		}
		t.line("Steps of %s, ms on average: %s.", out.Name, strings.Join(steps, ", "))
	}
	var cut []string
	for _, out := range res.Contenders {
		// Failed requests of other kinds are none of a reload's: they are in failed, and in the JSON with their reason.
		n := out.Requests.ByReason[string(load.ReasonClosed)] + out.Requests.Get.Repeated
		cut = append(cut, fmt.Sprintf("%s %d", out.Name, n))
	}
	t.line("Connections that Nginx closed under a request (POSTs failed, GETs repeated): %s.", strings.Join(cut, ", "))
	every := time.Duration(float64(time.Second) * float64(res.Options.Nodes) / res.Options.Rate)
	t.line("Times in ms, to one request of a node: %v. Each change is the first one after %v of quiet.", every.Round(100*time.Microsecond), quiet)
	t.line("Generator and nodes took %.0f %% of a processor; a request went out %.1f ms late at p99 in the worst turn.", res.OwnCPU, ms(res.late()))
}

// late is how late the generator was with one request in a hundred, in its worst turn: what the machine adds to every
// figure here.
func (res *results) late() time.Duration {
	var worst time.Duration
	for _, out := range res.Contenders {
		for _, turn := range out.Turns {
			worst = max(worst, turn.Late.Quantile(0.99))
		}
	}
	return worst
}

// String is the ratio with its bounds.
func (r ratio) String() string { return fmt.Sprintf("%.2f (%.2f to %.2f)", r.Value, r.Low, r.High) }

func count(n int64) string { return strconv.FormatInt(n, 10) }

// table writes rows of cells, and lines between them.
type table struct{ *tabwriter.Writer }

// row's first cell is a name, at the left.
func (t table) row(cells ...string) {
	fmt.Fprintf(t, "%-8s\t%s\t\n", cells[0], strings.Join(cells[1:], "\t"))
}

func (t table) line(format string, args ...any) { fmt.Fprintf(t, format+"\n", args...) }
