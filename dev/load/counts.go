package load

import (
	"maps"
	"time"
)

// Outcome counts requests by what became of them. Sent − OK − Failed are in
// flight; after a run there are none.
type Outcome struct {
	Sent     int64 `json:"sent"`
	OK       int64 `json:"ok"`       // answered in full with 2xx
	Failed   int64 `json:"failed"`   // everything else
	Repeated int64 `json:"repeated"` // GETs sent a second time; the second answer decides between OK and Failed
}

func (o Outcome) sub(b Outcome) Outcome {
	return Outcome{o.Sent - b.Sent, o.OK - b.OK, o.Failed - b.Failed, o.Repeated - b.Repeated}
}

// Counts is what a generator has counted since its start.
type Counts struct {
	Outcome
	Waiting  int64              `json:"waiting"`  // due, and no connection was free yet
	Dropped  int64              `json:"dropped"`  // due and never sent: too many were waiting, or the run was over
	Connects int64              `json:"connects"` // connections opened
	Reopened int64              `json:"reopened"` // connections found closed while idle
	ByMethod map[string]Outcome `json:"by_method"`
	ByReason map[string]int64   `json:"by_reason"` // failures; see Reason
	ByNode   map[string]int64   `json:"by_node"`   // answers of any status, by the node that gave them
}

// Sub returns what was counted after the earlier counts b were taken: with one
// call to [Generator.Counts] a second, the rates. Waiting stays as it is in c.
func (c Counts) Sub(b Counts) Counts {
	d := c
	d.Outcome = c.Outcome.sub(b.Outcome)
	d.Dropped -= b.Dropped
	d.Connects -= b.Connects
	d.Reopened -= b.Reopened
	d.ByMethod = map[string]Outcome{}
	for method, o := range c.ByMethod {
		d.ByMethod[method] = o.sub(b.ByMethod[method])
	}
	d.ByReason = subMap(c.ByReason, b.ByReason)
	d.ByNode = subMap(c.ByNode, b.ByNode)
	return d
}

// subMap keeps the keys that have become more.
func subMap(c, b map[string]int64) map[string]int64 {
	d := map[string]int64{}
	for key, n := range c {
		if n > b[key] {
			d[key] = n - b[key]
		}
	}
	return d
}

func (c Counts) clone() Counts {
	c.ByMethod = maps.Clone(c.ByMethod)
	c.ByReason = maps.Clone(c.ByReason)
	c.ByNode = maps.Clone(c.ByNode)
	return c
}

// Report is the result of a run.
type Report struct {
	Rate    float64   `json:"rate"`       // requests a second, as ordered
	Seconds float64   `json:"duration_s"` // length of the schedule
	Counts            // all of the schedule: Sent + Dropped, Waiting is 0
	Latency Histogram `json:"latency"` // all requests sent, from when they were due until the last byte or the failure
	Service Histogram `json:"service"` // the same from when they were sent
	Late    Histogram `json:"late"`    // how late the generator itself was with requests whose connection was free in time
}

// Sample is one request that is over.
type Sample struct {
	Scheduled time.Time // when it was due
	Start     time.Time // when it was sent; later than Scheduled when no connection was free
	End       time.Time // last byte of the answer, or the failure
	Method    string    // GET or POST
	Node      string    // who answered; "" if nobody did, or did not say
	Status    int       // of the answer, 0 without one
	Repeated  bool
	Err       error // nil when all is well, else *[Error]
}
