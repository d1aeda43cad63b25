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
	Contenders  []*outcome    `json:"contenders"`
	Against     []*comparison `json:"against_floor,omitempty"`
	Parts       parts         `json:"parts"`
	Verdicts    []verdict     `json:"verdicts"`
	OwnCPU      float64       `json:"bench_cpu_percent"` // of one processor: load generator and nodes
}

// machine is where the run took place.
type machine struct {
	Redis      string `json:"redis"`
	Kernel     string `json:"kernel"`
	Processors int    `json:"processors"`
}

// outcome is what was measured of one contender.
type outcome struct {
	Name     string        `json:"name"`
	Server   string        `json:"server"` // program and version of the front
	Cycles   int           `json:"cycles"` // that gave figures
	Drain    spread        `json:"drain"`  // write to the start of the last request on the frozen node
	Back     spread        `json:"back"`   // write to the start of the first request on the unfrozen node
	Requests requests      `json:"requests"`
	Process  *processUse   `json:"process,omitempty"`
	Front    processUse    `json:"front"`
	Replaced int           `json:"processes_replaced"` // of the front's: workers that have ended during its turns
	Steps    []stepMean    `json:"steps,omitempty"`
	Errors   []string      `json:"errors,omitempty"` // of the cycles that gave none
	Samples  []sample      `json:"samples"`
	Turns    []load.Report `json:"turns"`

	cpu, frontCPU, wall time.Duration
	steps               stepTimes
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
	Closed   int64            `json:"closed"`   // connections that the front has ended, for whatever reason: as many were opened anew
	Dropped  int64            `json:"dropped"`  // due, and never sent: the generator or Nginx was too slow
	ByReason map[string]int64 `json:"failed_by_reason"`
}

// processUse is what a contender's daemon, without its children, or a front with all its processes used during the
// contender's turns.
type processUse struct {
	CPU float64 `json:"cpu_percent"` // of one processor
	RSS float64 `json:"rss_mib"`     // at the end; memory that processes share counts for each
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
	server, _ := output("redis-server", "--version")
	_, server, _ = strings.Cut(server, "v=")
	res.Machine.Redis, _, _ = strings.Cut(server, " ")
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		release, _, _ := strings.Cut(unix.ByteSliceToString(name.Release[:]), "-") // the rest is the distributor's
		res.Machine.Kernel = unix.ByteSliceToString(name.Sysname[:]) + " " + release
	}
	for _, l := range lanes {
		res.Contenders = append(res.Contenders, &outcome{Name: l.name, Server: l.front.version(), steps: stepTimes{}, Requests: requests{ByReason: map[string]int64{}}})
	}
	return res
}

// clients adds what the clients saw in one turn.
func (out *outcome) clients(report load.Report, conns int) {
	out.Turns = append(out.Turns, report)
	r := &out.Requests
	addOutcome(&r.Get, report.ByMethod["GET"])
	addOutcome(&r.Post, report.ByMethod["POST"])
	r.Reopened += report.Reopened
	r.Dropped += report.Dropped
	r.Closed += max(report.Connects-int64(conns), 0)
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

// used adds what was used between two moments.
func (out *outcome) used(before, after meter) {
	const mib = 1 << 20
	out.wall += after.at.Sub(before.at)
	out.frontCPU += after.front.cpu - before.front.cpu
	out.Front = processUse{CPU: percent(out.frontCPU, out.wall), RSS: float64(after.front.rss) / mib}
	if after.daemon != (footprint{}) {
		out.cpu += after.daemon.cpu - before.daemon.cpu
		out.Process = &processUse{CPU: percent(out.cpu, out.wall), RSS: float64(after.daemon.rss) / mib}
	}
	out.Replaced += replaced(before.tree, after.tree)
	out.steps.since(before.steps, after.steps)
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
	var drains, backs []float64
	for _, s := range out.Samples {
		if s.Cycle >= n {
			drains, backs = append(drains, s.Drain), append(backs, s.Back)
		}
	}
	d, b := spreadOf(drains), spreadOf(backs)
	return fmt.Sprintf("%d cycles; drain p50 %.1f, max %.1f ms; back p50 %.1f, max %.1f ms", len(drains), d.P50, d.Max, b.P50, b.Max)
}

// of is the outcome of a contender, nil when it had no turn.
func (res *results) of(name string) *outcome {
	for _, out := range res.Contenders {
		if out.Name == name {
			return out
		}
	}
	return nil
}

// against is a contender's comparison with the floor, nil without one.
func (res *results) against(name string) *comparison {
	for _, c := range res.Against {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// cutOff counts the connections that the front closed under a request: POSTs failed, GETs repeated. Requests that failed
// in other ways are none of a reload's: they are in the JSON with their reason.
func (out *outcome) cutOff() int64 {
	return out.Requests.ByReason[string(load.ReasonClosed)] + out.Requests.Get.Repeated
}

// compare sets every contender against the floor.
func (res *results) compare() {
	floor := res.of("floor")
	if floor == nil {
		return
	}
	for _, out := range res.Contenders {
		if out == floor {
			continue
		}
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
