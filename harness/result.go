package harness

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Result is one row: a template with a case in one Nginx.
type Result struct {
	Template string         `json:"template"`
	Case     string         `json:"case"`
	Nginx    string         `json:"nginx"`  // version, and --label; "none" without Nginx
	Engine   string         `json:"engine"` // how servers change: reload or lua
	OK       bool           `json:"ok"`
	Requests int            `json:"requests"`
	Went     string         `json:"went"`            // where they went, for people
	Nodes    map[string]int `json:"nodes,omitempty"` // and in figures: answers by node
	Golden   string         `json:"golden"`          // same, differs, missing, written; "" when nothing is compared
	Seconds  float64        `json:"seconds"`
	Rendered string         `json:"rendered,omitempty"` // the output; "" when lbd refuses it
	Faults   []string       `json:"faults,omitempty"`   // each of one or more lines
}

// The engines, by what servers change with: a new file and a reload, or Lua inside Nginx (nginx.apply: live). What lbd
// does while it runs is no matter of templates; here Nginx serves by what is in the file alone.
const (
	engineReload = "reload"
	engineLua    = "lua"
)

// Report is all that came of a run, and what `-o json` prints.
type Report struct {
	OK      bool     `json:"ok"`
	Network string   `json:"network"` // private or loopback
	Notes   []string `json:"notes,omitempty"`
	Results []Result `json:"results"`
}

func (r *Result) fail(fault string) { r.Faults = append(r.Faults, fault) }

// finish sums the report up.
func (r *Report) finish() {
	r.OK = len(r.Results) > 0
	for i := range r.Results {
		r.Results[i].OK = len(r.Results[i].Faults) == 0
		r.OK = r.OK && r.Results[i].OK
	}
}

// add puts the rows of another report under these.
func (r *Report) add(o *Report) {
	r.Results = append(r.Results, o.Results...)
	for _, n := range o.Notes {
		if !slices.Contains(r.Notes, n) {
			r.Notes = append(r.Notes, n)
		}
	}
	switch {
	case r.Network == "":
		r.Network = o.Network
	case o.Network != r.Network:
		r.Network = "several"
	}
}

// summary says in a few words where the traffic went.
func summary(got *seen) string {
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(got.status)) {
		if status != 200 {
			parts = append(parts, fmt.Sprintf("%d × %d", got.status[status], status))
		}
	}
	for _, why := range slices.Sorted(maps.Keys(got.broken)) {
		parts = append(parts, fmt.Sprintf("%d × %s", got.broken[why], why))
	}
	if n := len(got.went); n > 4 {
		least, most := got.requests, 0
		for _, count := range got.went {
			least, most = min(least, count), max(most, count)
		}
		each := fmt.Sprint(least)
		if most > least {
			each = fmt.Sprintf("%d to %d", least, most)
		}
		parts = append(parts, fmt.Sprintf("%d nodes, %s each", n, each))
	} else if n > 0 {
		parts = append(parts, counts(got.went))
	}
	if got.together != nil {
		parts = append(parts, "at once: "+counts(got.together))
	}
	return strings.Join(parts, "; ")
}
