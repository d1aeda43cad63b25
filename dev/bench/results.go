package main

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bazbeans/bazbeans/dev/load"
)

// results are a whole run, as they stand in bench.json.
type results struct {
	At          time.Time     `json:"at"`
	Machine     machine       `json:"machine"`
	Options     options       `json:"options"`
	Interrupted bool          `json:"interrupted,omitempty"`
	Contenders  []*outcome    `json:"contenders"` // the floor first
	Against     []*comparison `json:"against_floor"`
	OwnCPU      float64       `json:"bench_cpu_percent"` // of one processor: load generator and nodes
}

// machine is where the run took place.
type machine struct {
	Nginx      string `json:"nginx"`
	Redis      string `json:"redis"`
	Kernel     string `json:"kernel"`
	Processors int    `json:"processors"`
}

// outcome is what was measured of one contender.
type outcome struct {
	Name     string        `json:"name"`
	Cycles   int           `json:"cycles"` // that gave figures
	Drain    spread        `json:"drain"`  // write to the start of the last request on the frozen node
	Back     spread        `json:"back"`   // write to the start of the first request on the unfrozen node
	Requests requests      `json:"requests"`
	Process  *processUse   `json:"process,omitempty"`
	Steps    []stepMean    `json:"steps,omitempty"`
	Errors   []string      `json:"errors,omitempty"` // of the cycles that gave none
	Samples  []sample      `json:"samples"`
	Turns    []load.Report `json:"turns"`

	cpu, wall time.Duration
	steps     stepTimes
}

// sample is one cycle; times in milliseconds.
type sample struct {
	Cycle int     `json:"cycle"`
	Node  string  `json:"node"`
	Drain float64 `json:"drain_ms"`
	Back  float64 `json:"back_ms"`
}

// requests are those of the clients during all turns of the contender.
type requests struct {
	Get      load.Outcome     `json:"get"`
	Post     load.Outcome     `json:"post"`
	Reopened int64            `json:"reopened"` // connections found closed before a request was written: no harm done
	Dropped  int64            `json:"dropped"`  // due, and never sent: the generator or Nginx was too slow
	ByReason map[string]int64 `json:"failed_by_reason"`
}

// processUse is what the contender's daemon used during its turns, without its children.
type processUse struct {
	CPU  float64 `json:"cpu_percent"` // of one processor
	RSS  float64 `json:"rss_mib"`     // at the end
	Peak float64 `json:"peak_rss_mib"`
}

// comparison is a contender against the floor.
type comparison struct {
	Name     string `json:"name"`
	DrainP50 ratio  `json:"drain_p50"`
	DrainP95 ratio  `json:"drain_p95"`
	BackP50  ratio  `json:"back_p50"`
	BackP95  ratio  `json:"back_p95"`
}

func newResults(o options, lanes []*lane) *results {
	res := &results{At: time.Now().UTC().Truncate(time.Second), Options: o, Machine: machine{Processors: runtime.NumCPU()}}
	// Without an answer the field stays empty; no figure depends on it.
	nginx, _ := output(lanes[0].web.Binary, "-v")
	res.Machine.Nginx = strings.TrimPrefix(nginx, "nginx version: nginx/")
	server, _ := output("redis-server", "--version")
	_, server, _ = strings.Cut(server, "v=")
	res.Machine.Redis, _, _ = strings.Cut(server, " ")
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		release, _, _ := strings.Cut(unix.ByteSliceToString(name.Release[:]), "-") // the rest is the distributor's
		res.Machine.Kernel = unix.ByteSliceToString(name.Sysname[:]) + " " + release
	}
	for _, l := range lanes {
		res.Contenders = append(res.Contenders, &outcome{Name: l.name, steps: stepTimes{}, Requests: requests{ByReason: map[string]int64{}}})
	}
	return res
}

// clients adds what the clients saw in one turn.
func (out *outcome) clients(report load.Report) {
	out.Turns = append(out.Turns, report)
	r := &out.Requests
	addOutcome(&r.Get, report.ByMethod["GET"])
	addOutcome(&r.Post, report.ByMethod["POST"])
	r.Reopened += report.Reopened
	r.Dropped += report.Dropped
	for reason, n := range report.ByReason {
		r.ByReason[reason] += n
	}
}

func addOutcome(to *load.Outcome, o load.Outcome) {
	to.Sent += o.Sent
	to.OK += o.OK
	to.Failed += o.Failed
	to.Repeated += o.Repeated
}

// used adds what the daemon, if there is one, used in one turn.
func (out *outcome) used(cpu, wall time.Duration, now footprint) {
	if now == (footprint{}) {
		return
	}
	const mib = 1 << 20
	out.cpu += cpu
	out.wall += wall
	out.Process = &processUse{CPU: percent(out.cpu, out.wall), RSS: float64(now.rss) / mib, Peak: float64(now.peak) / mib}
}

// summarize fills in what follows from the samples.
func (out *outcome) summarize() {
	out.Cycles = len(out.Samples)
	out.Drain, out.Back = spreadOf(out.drains()), spreadOf(out.backs())
	out.Steps = out.steps.means()
}

func (out *outcome) drains() []float64 {
	return out.values(func(s sample) float64 { return s.Drain })
}

func (out *outcome) backs() []float64 {
	return out.values(func(s sample) float64 { return s.Back })
}

func (out *outcome) values(of func(sample) float64) []float64 {
	values := make([]float64, len(out.Samples))
	for i, s := range out.Samples {
		values[i] = of(s)
	}
	return values
}

// since says what the cycles from number n on gave, for the progress.
func (out *outcome) since(n int) string {
	var drains, backs []string
	for _, s := range out.Samples {
		if s.Cycle < n {
			continue
		}
		drains = append(drains, fmt.Sprintf("%.0f", s.Drain))
		backs = append(backs, fmt.Sprintf("%.0f", s.Back))
	}
	return fmt.Sprintf("drain %s ms, back %s ms", strings.Join(drains, " "), strings.Join(backs, " "))
}

// compare sets every contender against the floor.
func (res *results) compare() {
	floor := res.Contenders[0]
	for _, out := range res.Contenders[1:] {
		res.Against = append(res.Against, &comparison{
			Name:     out.Name,
			DrainP50: ratioOf(out.drains(), floor.drains(), 0.50), DrainP95: ratioOf(out.drains(), floor.drains(), 0.95),
			BackP50: ratioOf(out.backs(), floor.backs(), 0.50), BackP95: ratioOf(out.backs(), floor.backs(), 0.95),
		})
	}
}

// loaded is how long load was sent, all turns together.
func (res *results) loaded() time.Duration {
	var sum float64
	for _, out := range res.Contenders {
		for _, turn := range out.Turns {
			sum += turn.Seconds
		}
	}
	return time.Duration(sum * float64(time.Second))
}
