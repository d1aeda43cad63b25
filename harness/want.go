package harness

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bazbeans/bazbeans/conf"
)

// Want is what must come of a case.
type Want struct {
	Traffic     Traffic        `yaml:"traffic"`     // who answers; default all
	Tolerance   int            `yaml:"tolerance"`   // of shares, in percentage points; default 5
	Status      int            `yaml:"status"`      // of every answer; default 200, with traffic none 502
	Refused     string         `yaml:"refused"`     // what lbd says: it refuses a node, or all
	Contains    []string       `yaml:"contains"`    // texts in the output
	Lacks       []string       `yaml:"lacks"`       // texts not in the output
	Connections string         `yaml:"connections"` // reused | new: from Nginx to the nodes
	Sticky      string         `yaml:"sticky"`      // client | uri: the same one always gets the same node
	Together    map[string]int `yaml:"together"`    // how many of send.together each node, or a status like 502, has
}

// Traffic is which nodes, or fallbacks by address, answer.
type Traffic struct {
	form   string             // "" (not given), all, only, exactly or shares
	nodes  []string           // sorted; of only, exactly and shares
	shares map[string]float64 // in percent
}

// The forms of Traffic. all: each node of the fixture; exactly: each of the listed ones; only: nobody else, but perhaps
// not each of them.
const (
	trafficAll     = "all"
	trafficExactly = "exactly"
	trafficOnly    = "only"
	trafficShares  = "shares"
)

// UnmarshalYAML reads all, none, a list of nodes, {only: [nodes]} or shares like {web1: 75%, web2: 25%}.
func (t *Traffic) UnmarshalYAML(n *yaml.Node) error {
	var shares map[string]string
	var only struct {
		Only []string `yaml:"only"`
	}
	switch {
	case n.Kind == yaml.ScalarNode && n.Value == "all":
		t.form = trafficAll
		return nil
	case n.Kind == yaml.ScalarNode && n.Value == "none":
		t.form = trafficExactly
		return nil
	case n.Kind == yaml.SequenceNode && n.Decode(&t.nodes) == nil:
		t.form = trafficExactly
	case n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[0].Value == trafficOnly && n.Decode(&only) == nil:
		t.form, t.nodes = trafficOnly, only.Only
	case n.Kind == yaml.MappingNode && n.Decode(&shares) == nil:
		t.form, t.shares = trafficShares, map[string]float64{}
		sum := 0.0
		for id, text := range shares {
			share, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
			if err != nil || !strings.HasSuffix(text, "%") || !(share > 0) {
				return conf.Errorf(n, "%s: %q is not a share like 25%%", id, text)
			}
			t.shares[id] = share
			sum += share
		}
		if sum < 99 || sum > 101 {
			return conf.Errorf(n, "the shares are %g%% together, not 100%%", sum)
		}
		t.nodes = slices.Collect(maps.Keys(t.shares))
	default:
		return conf.Errorf(n, "traffic is all, none, a list of nodes, {only: [nodes]}, or shares like {web1: 75%%, web2: 25%%}")
	}
	slices.Sort(t.nodes)
	for _, id := range t.nodes {
		if !isNode(id) {
			return conf.Errorf(n, "%.80q is neither a node's id nor an address with a port", id)
		}
	}
	return nil
}

const defaultTolerance = 5

func (w *Want) check(c *Case) error {
	var errs []error
	bad := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(w.Tolerance < 0 || w.Tolerance > 50, "want.tolerance: %d is not a number from 0 to 50", w.Tolerance)
	bad(w.Status != 0 && (w.Status < 200 || w.Status > 599), "want.status: %d is no status of an answer", w.Status)
	bad(w.Connections != "" && w.Connections != "reused" && w.Connections != "new", "want.connections: %q is not reused or new", w.Connections)
	bad(w.Sticky != "" && w.Sticky != "client" && w.Sticky != "uri", "want.sticky: %q is not client or uri", w.Sticky)
	bad(w.Sticky == "client" && c.Send.Clients < 2, "want.sticky: client needs send.clients, at least 2")
	bad(w.Sticky == "uri" && c.Send.URIs < 2, "want.sticky: uri needs send.uris, at least 2")
	bad((len(w.Together) > 0) != (c.Send.Together > 0), "want.together and send.together need each other")
	sum := 0
	for _, n := range w.Together {
		sum += n
	}
	bad(sum != c.Send.Together, "want.together: %d answers, but send.together is %d", sum, c.Send.Together)
	return errors.Join(errs...)
}

// status is the one that every answer must have.
func (w *Want) status() int {
	switch {
	case w.Status != 0:
		return w.Status
	case w.Traffic.form == trafficExactly && len(w.Traffic.nodes) == 0:
		return 502
	}
	return 200
}

// settle puts the nodes of the fixture in where all are meant.
func (w Want) settle(ids []string) Want {
	if w.Traffic.form == "" || w.Traffic.form == trafficAll {
		w.Traffic = Traffic{form: trafficExactly, nodes: slices.Sorted(slices.Values(ids))}
	}
	if w.Tolerance == 0 {
		w.Tolerance = defaultTolerance
	}
	return w
}

// unmet says what in the traffic is not as wanted, a line for each. w is settled.
func (w *Want) unmet(got *seen) (faults []string) {
	say := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for _, status := range slices.Sorted(maps.Keys(got.status)) {
		if status != w.status() {
			say("%d of %d answers had the status %d, want %d", got.status[status], got.requests, status, w.status())
		}
	}
	for _, text := range slices.Sorted(maps.Keys(got.broken)) {
		say("%d of %d requests had no answer: %s", got.broken[text], got.requests, text)
	}
	for _, id := range slices.Sorted(maps.Keys(got.went)) {
		if !slices.Contains(w.Traffic.nodes, id) {
			say("%d of %d requests went to %s, want none", got.went[id], got.requests, id)
		}
	}
	var missed []string
	for _, id := range w.Traffic.nodes {
		share := 100 * float64(got.went[id]) / float64(max(got.requests, 1))
		switch want := w.Traffic.shares[id]; {
		case w.Traffic.form == trafficOnly:
		case got.went[id] == 0:
			missed = append(missed, id)
		case w.Traffic.form == trafficShares && (share < want-float64(w.Tolerance) || share > want+float64(w.Tolerance)):
			say("%s had %.1f%% of the requests (%d of %d), want %g%% ± %d", id, share, got.went[id], got.requests, want, w.Tolerance)
		}
	}
	if len(missed) > 0 {
		say("no request of %d went to %s", got.requests, listed(missed))
	}
	switch {
	case w.Connections == "reused" && 2*got.conns > got.requests:
		say("Nginx opened %d connections for %d requests: they were not reused", got.conns, got.requests)
	case w.Connections == "new" && got.conns < got.requests:
		say("Nginx opened %d connections for %d requests, want one for each", got.conns, got.requests)
	}
	places := map[string]map[string]map[string]bool{"client": got.byClient, "uri": got.byURI}[w.Sticky]
	for _, key := range slices.Sorted(maps.Keys(places)) {
		if nodes := slices.Sorted(maps.Keys(places[key])); len(nodes) > 1 {
			say("%s %s went to %s, want one node for each %s", w.Sticky, key, listed(nodes), w.Sticky)
			break // one tells it
		}
	}
	if w.Together != nil && !maps.Equal(w.Together, got.together) {
		say("of the requests at once %s, want %s", counts(got.together), counts(w.Together))
	}
	return faults
}

// listed is up to five of the names, and how many more there are.
func listed(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// counts is like "web1 2, web2 2, 502 4".
func counts(of map[string]int) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(of)) {
		parts = append(parts, fmt.Sprintf("%s %d", key, of[key]))
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}
