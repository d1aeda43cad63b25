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

	"github.com/bazbeans/bazbeans/dev/load/plot"
)

func jsonFile(dir string) string { return filepath.Join(dir, "bench.json") }
func svgFile(dir string) string  { return filepath.Join(dir, "bench.svg") }

// save writes the JSON and, where contenders had turns, the picture.
func (res *results) save(dir string) error {
	files := map[string]func(io.Writer) error{jsonFile(dir): res.writeJSON}
	if len(res.Contenders) > 0 {
		files[svgFile(dir)] = res.chart().WriteSVG
	}
	for name, write := range files {
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

// least is the left end of the picture's axis, in ms: a node that got no request after the write is drawn there.
const least = 0.1

// chart shows every sample: all drains, then all ways back. From milliseconds to seconds only a logarithmic axis shows all.
func (res *results) chart() plot.Chart {
	o := res.Options
	c := plot.Chart{
		Title:    "Freeze and unfreeze under load",
		Subtitle: fmt.Sprintf("%g requests/s, %g %% POST, %d nodes; %s%d processors", o.Rate, 100*o.Post, o.Nodes, res.servers(), res.Machine.Processors),
		Axis:     "drain: write to the last request on the frozen node; back: write to the first one after unfreeze; 0.1 ms: none, or less",
		Log:      true,
	}
	drawn := func(values []float64) []float64 {
		for i, v := range values {
			values[i] = max(v, least)
		}
		return values
	}
	for _, out := range res.Contenders {
		c.Series = append(c.Series, plot.Series{Name: "drain, " + out.Name, Of: out.Name, Values: drawn(out.drains())})
	}
	for _, out := range res.Contenders {
		c.Series = append(c.Series, plot.Series{Name: "back, " + out.Name, Of: out.Name, Values: drawn(out.backs())})
	}
	return c
}

func (res *results) setting() string {
	o := res.Options
	return fmt.Sprintf("%g requests/s over %d connections, %g %% POST, %d nodes", o.Rate, o.Conns, 100*o.Post, o.Nodes)
}

func (res *results) machine() string {
	m := res.Machine
	return fmt.Sprintf("%sredis %s, %s, %d processors", res.servers(), m.Redis, m.Kernel, m.Processors)
}

// servers names the fronts' programs, each once.
func (res *results) servers() string {
	var names string
	for _, out := range res.Contenders {
		if out.Server != "" && !strings.Contains(names, out.Server+", ") {
			names += out.Server + ", "
		}
	}
	return names
}

// writeTable writes the summary for people.
func (res *results) writeTable(w io.Writer) error {
	t := table{tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight), w}
	t.line("%s", res.setting())
	t.line("%s", res.machine())
	if res.Interrupted {
		t.line("Interrupted: this is what was measured until then.")
	}
	if len(res.Contenders) > 0 {
		res.contenders(t)
	}
	res.Parts.write(t)
	res.verdicts(t)
	return t.Flush()
}

// contenders is the tables of the turns, and what stands below them.
func (res *results) contenders(t table) {
	t.line("")
	t.row("", "cycles", "drain p50", "p95", "p99", "max", "back p50", "p95", "p99", "max")
	for _, out := range res.Contenders {
		cells := []string{out.Name, strconv.Itoa(out.Cycles)}
		for _, s := range []spread{out.Drain, out.Back} {
			for _, v := range []float64{s.P50, s.P95, s.P99, s.Max} {
				cells = append(cells, fmt.Sprintf("%.1f", v))
			}
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
	t.row("processes", "daemon CPU %", "RSS MiB", "front CPU %", "RSS MiB", "workers replaced", "connections closed")
	for _, out := range res.Contenders {
		cells := []string{out.Name, "-", "-"}
		if p := out.Process; p != nil {
			cells = []string{out.Name, fmt.Sprintf("%.2f", p.CPU), fmt.Sprintf("%.1f", p.RSS)}
		}
		t.row(append(cells, fmt.Sprintf("%.1f", out.Front.CPU), fmt.Sprintf("%.1f", out.Front.RSS), strconv.Itoa(out.Replaced), count(out.Requests.Closed))...)
	}
	t.line("")
	for _, c := range res.Against {
		t.line("%s / floor: drain p50 %v, p95 %v; back p50 %v, p95 %v", c.Name, c.DrainP50, c.DrainP95, c.BackP50, c.BackP95)
	}
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
	every := time.Duration(float64(time.Second) * float64(res.Options.Nodes) / res.Options.Rate)
	t.line("Times in ms, to one request of a node: %v. Each change is the first one after a time of quiet.", every.Round(100*time.Microsecond))
	t.line("Generator and nodes took %.0f %% of a processor; a request went out %.2f ms late at p50 and %.1f at p99 in the worst turn.",
		res.OwnCPU, ms(res.late(0.50)), ms(res.late(0.99)))
}

// write is what the parts have found.
func (p parts) write(t table) {
	for _, u := range p.Throughput {
		t.line("")
		t.row("answers of "+u.Answer, "requests/s", "/ static", "Nginx's µs for a request", "/ static")
		row := func(name string, runs []burst, over ...string) {
			t.row(name, fmt.Sprintf("%.0f", median(rates(runs))), over[0], fmt.Sprintf("%.1f", median(costs(runs))), over[1])
		}
		row("static upstream", u.Fixed, "", "")
		row("lua", u.Live, u.Rate.String(), u.CPU.String())
		row("the least Lua code", u.Bare, u.BareRate.String(), u.BareCPU.String())
	}
	if len(p.Peers) > 0 {
		t.line("")
		t.row("µs for a request", fmt.Sprintf("%d peers", fewPeers), fmt.Sprintf("%d peers", manyPeers), "ratio")
		for _, c := range p.Peers {
			t.row(c.Engine+", "+c.Balance, fmt.Sprintf("%.1f", median(costs(c.Few))), fmt.Sprintf("%.1f", median(costs(c.Many))), c.CPU.String())
		}
	}
	if u := p.Updates; u != nil {
		t.line("")
		t.line("Update of %d peers: p50 %.2f, p95 %.2f, p99 %.2f, max %.2f ms; and the first request after it: p50 %.2f, p95 %.2f, max %.2f ms.",
			manyPeers, u.Large.P50, u.Large.P95, u.Large.P99, u.Large.Max, u.First.P50, u.First.P95, u.First.Max)
		t.line("%d updates, %.0f a second, under load: Nginx's memory %.1f MiB, grown by %.2f; %d of %d requests failed, %d workers replaced.",
			u.Pushes, u.Rate, u.Memory[len(u.Memory)-1], u.Growth, u.Failed, u.Sent, u.Workers)
	}
}

// verdicts is the table of the bounds.
func (res *results) verdicts(t table) {
	if len(res.Verdicts) == 0 {
		return
	}
	t.line("")
	t.Flush()
	left := tabwriter.NewWriter(t.to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(left, "\tbound\t\tmeasured\t")
	for _, v := range res.Verdicts {
		fmt.Fprintf(left, "%s\t%s\t%s\t%.4g\t%s\n", v.Of, v.What, v.limit(), v.Figure, v.word())
	}
	left.Flush()
}

// late is how late the generator was with that share of the requests in its worst turn: what the machine adds to every
// figure here.
func (res *results) late(q float64) time.Duration {
	var worst time.Duration
	for _, out := range res.Contenders {
		for _, turn := range out.Turns {
			worst = max(worst, turn.Late.Quantile(q))
		}
	}
	return worst
}

// String is the ratio with its bounds.
func (r ratio) String() string { return fmt.Sprintf("%.2f (%.2f to %.2f)", r.Value, r.Low, r.High) }

func count(n int64) string { return strconv.FormatInt(n, 10) }

// table writes rows of cells, and lines between them.
type table struct {
	*tabwriter.Writer
	to io.Writer
}

// row's first cell is a name, at the left.
func (t table) row(cells ...string) {
	fmt.Fprintf(t, "%-8s\t%s\t\n", cells[0], strings.Join(cells[1:], "\t"))
}

func (t table) line(format string, args ...any) { fmt.Fprintf(t, format+"\n", args...) }
