package lbd

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// shownSeries are series by name: label → the values that it may have; nil: any.
type shownSeries map[string]map[string][]string

var (
	promString   = regexp.MustCompile(`"[^"]*"`)
	promSelector = regexp.MustCompile(`([a-zA-Z_:]\w*)\s*\{([^}]*)\}`)
	promMatcher  = regexp.MustCompile(`^\s*(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"\s*$`)
	promGrouping = regexp.MustCompile(`\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	promRange    = regexp.MustCompile(`\[[^\]]*\]`)
	promWord     = regexp.MustCompile(`[a-zA-Z_:]\w*\s*\(?`)
	promWords    = []string{"and", "or", "unless"}
	promFuncs    = []string{"time", "max", "min", "sum", "rate", "increase", "changes", "histogram_quantile"}
)

// unknownIn says what an expression names that there is not. It knows as much of PromQL as our rules and our dashboard
// use; Prometheus itself judges the rest, in the machine that systemd/ boots.
func unknownIn(expr string, series shownSeries) (why []string) {
	add := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }
	if !bracketsMatch(promString.ReplaceAllString(expr, `""`)) {
		add("brackets do not match: %s", expr)
		return why
	}
	for _, s := range promSelector.FindAllStringSubmatch(expr, -1) {
		for part := range strings.SplitSeq(s[2], ",") {
			m := promMatcher.FindStringSubmatch(part)
			if m == nil {
				add("%q is no matcher", part)
				continue
			}
			values, ok := series[s[1]][m[1]]
			if !ok {
				add("%s has no label %s", s[1], m[1])
			}
			if values == nil || strings.Contains(m[3], "$") { // a variable of the dashboard
				continue
			}
			for v := range strings.SplitSeq(m[3], "|") {
				if !slices.Contains(values, v) {
					add("%s of %s is never %q", m[1], s[1], v)
				}
			}
		}
	}
	labels := map[string]bool{}
	for _, of := range series {
		for name := range maps.Keys(of) {
			labels[name] = true
		}
	}
	rest := promSelector.ReplaceAllString(expr, "$1")
	for _, g := range promGrouping.FindAllStringSubmatch(rest, -1) {
		for _, l := range strings.FieldsFunc(g[2], func(r rune) bool { return r == ',' || r == ' ' }) {
			if !labels[l] {
				add("no series has a label %s", l)
			}
		}
	}
	rest = promRange.ReplaceAllString(promGrouping.ReplaceAllString(rest, ""), "")
	found := false
	for _, w := range promWord.FindAllString(rest, -1) {
		name, call := strings.CutSuffix(w, "(")
		name = strings.TrimSpace(name)
		switch {
		case slices.Contains(promWords, name):
		case call && slices.Contains(promFuncs, name):
		case series[name] != nil && !call:
			found = true
		default:
			add("there is no %s", name)
		}
	}
	if !found {
		add("it names no series: %s", expr)
	}
	return why
}

func bracketsMatch(expr string) bool {
	var open []rune
	for _, r := range expr {
		switch r {
		case '(', '{', '[':
			open = append(open, r)
		case ')', '}', ']':
			if len(open) == 0 || !slices.Contains([]string{"()", "{}", "[]"}, string(open[len(open)-1])+string(r)) {
				return false
			}
			open = open[:len(open)-1]
		}
	}
	return len(open) == 0
}

func TestUnknownIn(t *testing.T) {
	series := shownSeries{"up": {"job": nil}, "lbd_nodes": {"state": {"active", "dead"}, "job": nil}}
	for expr, want := range map[string]string{
		`up{job="lbd"} == 0`:                                 "",
		`sum by (state) (rate(lbd_nodes[5m])) > 0 and up`:    "",
		`lbd_nodes{state=~"active|dead",job=~"$job"} > 1000`: "",
		`(up == 0`:                          "brackets",
		`up)`:                               "brackets",
		`lbd_node == 0`:                     "there is no lbd_node",
		`lbd_nodes{state="alive"}`:          `never "alive"`,
		`lbd_nodes{what="x"}`:               "no label what",
		`lbd_nodes{state}`:                  "no matcher",
		`sum by (host) (up)`:                "label host",
		`summe(up)`:                         "no summe",
		`time() > 1`:                        "names no series",
		`up{job="lbd"} == 0 and lbd_nods{}`: "no lbd_nods",
	} {
		got := strings.Join(unknownIn(expr, series), "; ")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: said %q, want %q", expr, got, want)
		}
	}
}
