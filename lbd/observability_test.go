package lbd

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/bazbeans/bazbeans/pool"
	"github.com/bazbeans/bazbeans/step"
)

// exposed are the series that lbd shows.
func exposed(t *testing.T) shownSeries {
	t.Helper()
	families, err := allMetrics().registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var steps, states []string
	for _, s := range step.Names {
		steps = append(steps, string(s))
	}
	for _, s := range []pool.State{pool.Active, pool.Frozen, pool.Dead, pool.Unhealthy, pool.Inactive, pool.Faulty} {
		states = append(states, string(s))
	}
	values := map[string]map[string][]string{
		"lbd_step_seconds":           {"step": steps},
		"lbd_applies_total":          {"result": append([]string{"applied", "live", "unchanged", "installed"}, steps...)},
		"lbd_nodes":                  {"state": states},
		"lbd_nginx_workers":          {"what": {"serving", "draining"}},
		"lbd_live":                   {"engine": {"lua", "resolve"}},
		"lbd_generation":             {"what": {"wanted", "written", "running"}},
		"lbd_resolver_answers_total": {"outcome": {"found", "not_mine", "cannot_know", "refused"}},
	}
	series := shownSeries{"up": {}} // Prometheus's own
	for _, f := range families {
		names := []string{f.GetName()}
		labels := map[string][]string{}
		for _, metric := range f.Metric {
			for _, l := range metric.Label {
				labels[l.GetName()] = values[f.GetName()][l.GetName()]
			}
		}
		if f.GetType().String() == "HISTOGRAM" {
			names = []string{names[0] + "_bucket", names[0] + "_sum", names[0] + "_count"}
			labels["le"] = nil
		}
		for _, name := range names {
			series[name] = labels
		}
	}
	for _, labels := range series {
		labels["job"], labels["instance"] = nil, nil
	}
	return series
}

func TestAlertsNameWhatThereIs(t *testing.T) {
	series := exposed(t)
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	dec := yaml.NewDecoder(strings.NewReader(page(t, "alerts.yml")))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		t.Fatal(err)
	}
	sections := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(page(t, "runbook.md"), -1) {
		sections[m[1]] = true
	}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			for _, why := range unknownIn(r.Expr, series) {
				t.Errorf("%s: %s", r.Alert, why)
			}
			if !regexp.MustCompile(`^(\d+[smh])?$`).MatchString(r.For) {
				t.Errorf("%s: for: %q", r.Alert, r.For)
			}
			if s := r.Labels["severity"]; s != "page" && s != "ticket" {
				t.Errorf("%s: severity %q", r.Alert, s)
			}
			if got, want := r.Annotations["runbook_url"], "docs/runbook.md#"+strings.ToLower(r.Alert); got != want || !sections[r.Alert] {
				t.Errorf("%s: runbook_url is %q, the runbook has such a section: %t", r.Alert, got, sections[r.Alert])
			}
			for _, a := range []string{"summary", "description"} {
				if r.Annotations[a] == "" {
					t.Errorf("%s has no %s", r.Alert, a)
				}
			}
			delete(sections, r.Alert)
		}
	}
	for s := range sections {
		t.Errorf("the runbook has a section %s, and there is no such alert", s)
	}
}

// TestTheRunbookHelps: each section says what the alert means, what to look at and what to do, and names commands of lbd
// that there are.
func TestTheRunbookHelps(t *testing.T) {
	text := page(t, "runbook.md")
	for _, section := range strings.Split(text, "\n## ")[1:] {
		for _, word := range []string{"**Means:**", "**Look:**", "**Do:**"} {
			if !strings.Contains(section, word) {
				name, _, _ := strings.Cut(section, "\n")
				t.Errorf("%s lacks %s", name, word)
			}
		}
	}
	commands := regexp.MustCompile("(?m)^lbd ([a-z]+)").FindAllStringSubmatch(strings.Join(blocks(t, "runbook.md", "sh"), ""), -1)
	commands = append(commands, regexp.MustCompile("`lbd\\s+([a-z]+)").FindAllStringSubmatch(text, -1)...)
	for _, m := range commands {
		if !strings.Contains(usage, "\n  lbd "+m[1]) {
			t.Errorf("the runbook says lbd %s, and there is no such command", m[1])
		}
	}
}

func TestTheDashboardNamesWhatThereIs(t *testing.T) {
	series := exposed(t)
	type target struct{ Expr, LegendFormat string }
	var board struct {
		Title  string
		UID    string
		Panels []struct {
			ID                       int
			Title, Type, Description string
			GridPos                  struct{ H, W, X, Y int }
			Targets                  []target
		}
		Templating struct {
			List []struct{ Name, Definition string }
		}
	}
	text, err := os.ReadFile("../docs/grafana/lbd.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&board); err != nil {
		t.Fatal(err)
	}
	shown, ids := map[string]bool{}, map[int]bool{}
	taken := map[[2]int]string{}
	for _, p := range board.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have id %d", p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %q lies over %q, or beside the page", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Title == "" || p.Description == "" || len(p.Targets) == 0 {
			t.Errorf("panel %d %q has no title, description or query", p.ID, p.Title)
		}
		for _, q := range p.Targets {
			for _, why := range unknownIn(q.Expr, series) {
				t.Errorf("panel %q: %s", p.Title, why)
			}
			for name := range series {
				shown[name] = shown[name] || regexp.MustCompile(`\b`+name+`\b`).MatchString(q.Expr)
			}
		}
	}
	for _, v := range board.Templating.List {
		if metric, _, _ := strings.Cut(strings.TrimPrefix(v.Definition, "label_values("), ","); v.Definition != "" && series[strings.Split(metric, "{")[0]] == nil {
			t.Errorf("variable %s asks for %s", v.Name, metric)
		}
	}
	// What lbd shows and no panel does is of little use.
	for _, name := range slices.Sorted(maps.Keys(series)) {
		if strings.HasPrefix(name, "lbd_") && !shown[name] && !strings.HasSuffix(name, "_sum") && !strings.HasSuffix(name, "_count") {
			t.Errorf("no panel shows %s", name)
		}
	}
}
