package ctl

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// Each view of the same fixed pool, at noon.
func TestGolden(t *testing.T) {
	s := newSite(t)
	s.fixed()
	for _, c := range []struct {
		name  string
		width int
		args  []string
	}{
		{"list-nodes", 0, []string{"list-nodes"}},
		{"list-nodes-40", 40, []string{"list-nodes"}},
		{"list-nodes-80", 80, []string{"list-nodes"}},
		{"list-nodes-200", 200, []string{"list-nodes"}},
		{"list-nodes-wide", 80, []string{"list-nodes", "-o", "wide"}},
		{"list-nodes-json", 80, []string{"list-nodes", "-o", "json"}},
		{"list-nodes-yaml", 80, []string{"list-nodes", "-o", "yaml"}},
		{"list-nodes-frozen", 0, []string{"list-nodes", "--state", "frozen,unhealthy"}},
		{"list-nodes-label", 0, []string{"list-nodes", "--label", "zone=b", "--label", "role=app", "--dc", "dc1"}},
		{"status-web1", 0, []string{"status", "web1"}},
		{"status-web2", 0, []string{"status", "web2"}},
		{"status-web3", 0, []string{"status", "web3"}},
		{"status-web4", 0, []string{"status", "web4"}},
		{"status-py1", 0, []string{"status", "py1"}},
		{"status-json", 0, []string{"status", "web3", "-o", "json"}},
		{"events", 0, []string{"events"}},
		{"events-60", 60, []string{"events"}},
		{"events-wide", 0, []string{"events", "-n", "2", "-o", "wide"}},
		{"events-json", 0, []string{"events", "--node", "web3", "-n", "1", "-o", "json"}},
		{"events-yaml", 0, []string{"events", "-o", "yaml"}},
		{"lbs", 0, []string{"lbs"}},
		{"lbs-60", 60, []string{"lbs"}},
		{"lbs-json", 0, []string{"lbs", "-o", "json"}},
		{"lbs-yaml", 0, []string{"lbs", "-o", "yaml"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := s.runWide(c.width, c.args...)
			if r.code != 0 {
				t.Fatalf("exit %d: %s", r.code, r.stderr)
			}
			golden(t, c.name, r.stdout)
			for _, line := range strings.Split(r.stdout, "\n") {
				if strings.TrimRight(line, " ") != line {
					t.Errorf("space at the end of %q", line)
				}
				if c.width > 0 && cells(line) > c.width && !slices.Contains(c.args, "-o") {
					t.Errorf("%d cells: %q", cells(line), line)
				}
			}
			if i := strings.IndexFunc(r.stdout, func(r rune) bool { return r != '\n' && !strconv.IsPrint(r) || unicode.Is(unicode.Cf, r) }); i >= 0 {
				t.Errorf("unprintable at %d: %q", i, r.stdout[i:])
			}
		})
	}
}

// What is escaped for a terminal is the same for a program.
func TestDataSurvivesEscapes(t *testing.T) {
	nasty := "a\x1b[31m\n\x7f\u009b\u202e\U000e0041\u00a0\"'\\: # <&> größe 😀"
	view := []map[string]string{{"key": nasty, "2": "true", "3": "1e3", "4": "", "5": "2026-01-01"}}
	for f, decode := range map[format]func([]byte, any) error{asJSON: json.Unmarshal, asYAML: yaml.Unmarshal} {
		b, err := encode(f, view, "  ")
		if err != nil {
			t.Fatal(err)
		}
		if i := strings.IndexFunc(string(b), func(r rune) bool { return r != '\n' && !strconv.IsPrint(r) }); i >= 0 {
			t.Errorf("%s: unprintable in %q", f, b)
		}
		var got []map[string]string
		if err := decode(b, &got); err != nil {
			t.Fatalf("%s: %v in %s", f, err, b)
		}
		for k, v := range view[0] {
			if got[0][k] != v {
				t.Errorf("%s: %s: got %q, want %q", f, k, got[0][k], v)
			}
		}
	}
}

// Nothing there is an empty list to a program, and a word to a person.
func TestEmptyPool(t *testing.T) {
	s := newSite(t)
	where := s.srv.Addr()
	for verb, said := range map[string]string{
		"list-nodes": "bbctl: no node is registered (redis at " + where + ")\n",
		"lbs":        "bbctl: no load balancer has ever reported (redis at " + where + ")\n",
		"events":     "bbctl: no events\n",
	} {
		s.want(0, "", said, verb)
		s.want(0, "[]\n", said, verb, "-o", "json")
		s.want(0, "[]\n", said, verb, "-o", "yaml")
	}
	s.want(0, "nothing to clean up\n", "", "cleanup")
	s.want(0, "[]\n", "", "cleanup", "-o", "json")
}
