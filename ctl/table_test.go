package ctl

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Whatever is in a table and however narrow the terminal: no line is wider, none ends with a space, and the columns
// that are kept are there.
func TestTableFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := table{columns: []column{{name: "NODE", keep: true}, {name: "STATE", keep: true}, {name: "N", right: true}, {name: "HELD", least: 6}, {name: "X"}, {name: "WHY", least: 12, keep: true}}}
		for range rapid.IntRange(0, 5).Draw(t, "rows") {
			tab.add(rapid.StringN(1, 20, -1).Draw(t, "node"), rapid.SampledFrom([]string{"active", "unhealthy"}).Draw(t, "state"), rapid.StringMatching(`\d{0,6}`).Draw(t, "n"),
				rapid.String().Draw(t, "held"), rapid.String().Draw(t, "x"), rapid.String().Draw(t, "why"))
		}
		width := rapid.IntRange(40, 200).Draw(t, "width")
		var b strings.Builder
		tab.write(&b, width)
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		if len(lines) != len(tab.rows)+1 {
			t.Fatalf("%d lines for %d rows", len(lines), len(tab.rows))
		}
		for _, l := range lines {
			if cells(l) > width || strings.HasSuffix(l, " ") {
				t.Fatalf("%d cells in %d: %q", cells(l), width, l)
			}
		}
		for _, c := range tab.columns {
			if c.keep && !strings.Contains(lines[0], c.name) {
				t.Fatalf("no %s in %q", c.name, lines[0])
			}
		}
	})
}

func TestCells(t *testing.T) {
	for text, want := range map[string]int{"": 0, "abc": 3, "größe": 5, "日本": 4, "e\u0301": 1, "😀": 2} {
		if got := cells(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	for text, want := range map[string]string{"abcdef": "abc…", "abcd": "abcd", "日本語": "日…", "": ""} {
		if got := cut(text, 4); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
