package lbd

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/lbd/nginx"
	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/resolvers"
	"github.com/bazbeans/bazbeans/step"
)

// metrics are what /metrics shows. Labels have few values, none of them from the pool's data.
type metrics struct {
	registry  *prometheus.Registry
	steps     *prometheus.HistogramVec
	applies   *prometheus.CounterVec
	success   prometheus.Gauge
	successAt prometheus.Gauge
	lookAt    prometheus.Gauge
	ackAt     prometheus.Gauge
	nodes     *prometheus.GaugeVec
	refused   prometheus.Gauge
	held      prometheus.Gauge
	running   prometheus.Gauge
	workers   *prometheus.GaugeVec
	answers   *prometheus.CounterVec
	asking    *prometheus.HistogramVec
	stale     prometheus.Gauge
}

// newMetrics makes the metrics; status is what the board shows, asked at each scrape.
func newMetrics(status func() Status) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{label})
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		steps: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "lbd_step_seconds", Help: "How long each step took.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .15, .2, .3, .5, 1, 2, 5, 10}}, []string{"step"}),
		applies: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lbd_applies_total",
			Help: "Applies by result: applied (by a reload), live, unchanged, installed (nginx was not running), or the step that failed."}, []string{"result"}),
		success:   gauge("lbd_last_apply_successful", "Whether the last apply did what was wanted."),
		successAt: gauge("lbd_last_apply_success_timestamp_seconds", "When an apply last did what was wanted."),
		ackAt:     gauge("lbd_last_ack_timestamp_seconds", "When lbd last said in Redis what is served."),
		lookAt:    gauge("lbd_last_look_timestamp_seconds", "When the pool was last looked at."),
		nodes:     vec("lbd_nodes", "Nodes of the pool by state.", "state"),
		refused:   gauge("lbd_quarantined", "Entries that are refused."),
		held:      gauge("lbd_guard_held_nodes", "Servers that the guard keeps against the pool's word."),
		running:   gauge("lbd_nginx_running", "Whether nginx runs."),
		workers:   vec("lbd_nginx_workers", "Nginx workers: serving, draining (of former configurations).", "what"),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lbd_resolver_answers_total",
			Help: "What resolvers said of nodes: found, not_mine, cannot_know, refused."}, []string{"resolver", "outcome"}),
		asking: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "lbd_resolver_seconds", Help: "How long a resolver took for one batch of nodes.",
			Buckets: []float64{.0005, .001, .005, .01, .05, .1, .2, .4, .6, .8, 1}}, []string{"resolver"}),
		stale: gauge("lbd_stale_addresses", "Nodes at the address last known, because no resolver can know a newer one."),
	}
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lbd_build_info", Help: "The version of lbd.",
		ConstLabels: prometheus.Labels{"version": cli.Version()}}, func() float64 { return 1 })
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build,
		m.steps, m.applies, m.success, m.successAt, m.lookAt, m.ackAt, m.nodes, m.refused, m.held, m.running, m.workers, m.answers, m.asking, m.stale)
	shown := func(name, help string, labels prometheus.Labels, value func(Status) float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels},
			func() float64 { return value(status()) }))
	}
	for what, n := range map[string]func(Status) int64{"wanted": func(s Status) int64 { return s.Wanted },
		"written": func(s Status) int64 { return s.Written }, "running": func(s Status) int64 { return s.Running }} {
		shown("lbd_generation", "Configuration generation: wanted, written, running (0: nothing proven).", prometheus.Labels{"what": what},
			func(s Status) float64 { return float64(n(s)) })
	}
	flag := func(is bool) float64 {
		if is {
			return 1
		}
		return 0
	}
	shown("lbd_nginx_old_generations", "Former configurations of nginx that have workers left.", nil, func(s Status) float64 { return float64(s.Nginx.OldGenerations) })
	shown("lbd_nginx_worker_shutdown_timeout_seconds", "worker_shutdown_timeout of nginx; 0: none.", nil, func(s Status) float64 { return s.Nginx.ShutdownTimeout })
	shown("lbd_rev", "Revision of the pool that is served in full.", nil, func(s Status) float64 { return float64(s.Rev) })
	shown("lbd_ready", "Whether Nginx serves what is wanted and the last look at Redis is fresh, as /readyz says.", nil,
		func(s Status) float64 { return flag(len(s.Problems) == 0) })
	shown("lbd_redis_connected", "Whether the last look at Redis could be had.", nil, func(s Status) float64 { return flag(s.Redis.Connected) })
	shown("lbd_events_heard", "Whether events are heard; if not, changes are seen at each resync.", nil, func(s Status) float64 { return flag(s.Redis.Events) })
	shown("lbd_guard_holding", "Whether the guard keeps anything against the pool's word.", nil, func(s Status) float64 { return flag(s.Guard.Held) })
	for _, engine := range []string{"lua", "resolve"} {
		shown("lbd_live", "Whether changes go in live.", prometheus.Labels{"engine": engine}, func(s Status) float64 { return flag(s.Engine.Name == engine) })
	}
	shown("lbd_busy", "Requests under way on all nodes as a live engine counts them; connections with resolve.", nil, func(s Status) float64 {
		n := 0
		for _, on := range s.Engine.Busy {
			n += on
		}
		return float64(n)
	})
	shown("lbd_files_behind", "Whether the files on disk are not what is served live.", nil, func(s Status) float64 { return flag(s.Engine.Behind != "") })
	shown("lbd_pinned", "Whether an operator went back to an older generation.", nil, func(s Status) float64 { return flag(s.Pinned != nil) })
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

func (m *metrics) took(s step.Name, d time.Duration) {
	m.steps.WithLabelValues(string(s)).Observe(d.Seconds())
}

// asked counts what one resolver said of a batch of nodes.
func (m *metrics) asked(resolver string, took time.Duration, nodes map[resolvers.Outcome]int) {
	for _, o := range []resolvers.Outcome{resolvers.Found, resolvers.NotMine, resolvers.CannotKnow, resolvers.Refused} {
		m.answers.WithLabelValues(resolver, string(o)).Add(float64(nodes[o]))
	}
	m.asking.WithLabelValues(resolver).Observe(took.Seconds())
}

func (m *metrics) acked(d time.Duration, err error) {
	m.took(step.Ack, d)
	if err == nil {
		m.ackAt.SetToCurrentTime()
	}
}

func (m *metrics) applied(out Outcome, err error) {
	result := "unchanged"
	switch {
	case err != nil:
		result = string(step.Of(err))
	case out.Reloaded:
		result = "applied"
	case out.Live && out.Changed:
		result = "live"
	case out.Changed:
		result = "installed"
	}
	m.applies.WithLabelValues(result).Inc()
	if err != nil {
		m.success.Set(0)
		return
	}
	m.success.Set(1)
	m.successAt.SetToCurrentTime()
}

func (m *metrics) looked(p *Plan) {
	m.lookAt.SetToCurrentTime()
	count, stale := map[string]int{}, 0
	for _, n := range p.Nodes {
		count[n.State]++
		if n.Stale {
			stale++
		}
	}
	m.stale.Set(float64(stale))
	for _, state := range []pool.State{pool.Active, pool.Frozen, pool.Dead, pool.Unhealthy, pool.Inactive, pool.Faulty} {
		m.nodes.WithLabelValues(string(state)).Set(float64(count[string(state)]))
	}
	m.refused.Set(float64(len(p.Quarantined)))
	m.held.Set(float64(len(p.heldIDs())))
}

func (m *metrics) nginx(s nginx.State) {
	up := 0.0
	if s.Up() {
		up = 1
	}
	m.running.Set(up)
	m.workers.WithLabelValues("serving").Set(float64(s.Workers))
	m.workers.WithLabelValues("draining").Set(float64(s.Draining))
}
