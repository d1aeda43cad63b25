package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// results is the whole table.
type results struct {
	At          time.Time `json:"at"`
	Short       bool      `json:"short"`
	Interrupted bool      `json:"interrupted"`
	Rows        []Result  `json:"rows"`
	LeftOut     []string  `json:"left_out"` // rows that a short run does not play
}

func (res *results) failed() (n int) {
	for _, r := range res.Rows {
		if r.Wrong != "" {
			n++
		}
	}
	return n
}

// show prints the table, and leaves it and the JSON in the folder if there is one.
func (res *results) show(o options, stdout io.Writer) error {
	if err := res.writeTable(stdout); err != nil || o.out == "" {
		return err
	}
	text, err := json.MarshalIndent(res, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.out, "faults.json"), append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("save results: %w", err)
	}
	var page strings.Builder
	res.writeMarkdown(&page)
	return os.WriteFile(filepath.Join(o.out, "faults.md"), []byte(page.String()), 0o644)
}

// verdict is one word, or two.
func (r *Result) verdict() string {
	switch {
	case r.Skipped != "":
		return "not played"
	case r.Wrong != "":
		return "FAILED"
	}
	return "held"
}

// figures are the cells after the texts.
func (r *Result) figures() []string {
	control := fmt.Sprint(r.Control)
	switch {
	case r.More >= beyondAll:
		control += " +any"
	case r.More > 0:
		control += fmt.Sprintf(" +%d", r.More)
	}
	return []string{fmt.Sprint(r.Requests), fmt.Sprint(r.Failed), control, fmt.Sprint(r.Repeated), fmt.Sprint(r.Reloads), fmt.Sprintf("%.1f", r.Converge), r.verdict()}
}

var heads = []string{"fault", "what is done", "what must hold", "requests", "failed", "control", "repeated", "reloads", "converged s", ""}

// line is the row in one line, for the progress.
func (r *Result) line() string {
	return fmt.Sprintf("%-10s %-44s %6d requests, %d failed (control %d), %d repeated, %d reloads, converged in %.1f s [%.0f s]",
		r.verdict(), r.Name, r.Requests, r.Failed, r.Control, r.Repeated, r.Reloads, r.Converge, r.Seconds)
}

// writeTable writes the table for a terminal, texts wrapped in their columns.
func (res *results) writeTable(w io.Writer) error {
	widths := []int{26, 44, 44, 8, 6, 8, 8, 7, 9, 10}
	t := &wrapped{w: w, widths: widths}
	t.row(heads)
	t.rule()
	for _, r := range res.Rows {
		t.row(append([]string{r.Name, r.Does, r.MustHold}, r.figures()...))
	}
	t.rule()
	t.line(res.sum())
	for _, r := range res.Rows {
		if r.Wrong != "" {
			t.line("FAILED " + r.Name + ": " + r.Wrong)
		}
		if r.Skipped != "" {
			t.line("not played: " + r.Name + ": " + r.Skipped)
		}
		for _, wrong := range r.Before {
			t.line("played again: " + r.Name + ": " + wrong)
		}
	}
	for _, name := range res.LeftOut {
		t.line("left out: " + name)
	}
	return t.err
}

// sum is the last word.
func (res *results) sum() string {
	var requests, failed, control int64
	var took float64
	for _, r := range res.Rows {
		requests, failed, control, took = requests+r.Requests, failed+r.Failed, control+r.Control, took+r.Seconds
	}
	text := fmt.Sprintf("%d rows, %d failed; %d requests through lbd's Nginx, %d of them failed, and %d of as many at the control; %.0f s.",
		len(res.Rows), res.failed(), requests, failed, control, took)
	if res.Short {
		text += fmt.Sprintf(" A short run: %d rows are left out, and waits are shorter.", len(res.LeftOut))
	}
	if res.Interrupted {
		text += " Interrupted."
	}
	return text
}

// writeMarkdown writes the table for docs/faults.md.
func (res *results) writeMarkdown(w io.Writer) {
	fmt.Fprintf(w, "| %s |\n|%s\n", strings.Join(heads, " | "), strings.Repeat("---|", 3)+strings.Repeat("--:|", 6)+"---|")
	for _, r := range res.Rows {
		cells := append([]string{r.Name, r.Does, r.MustHold}, r.figures()...)
		for i, c := range cells {
			cells[i] = strings.ReplaceAll(c, "|", `\|`)
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
	}
	fmt.Fprintf(w, "\n%s\n", res.sum())
}

// writeList says what the rows are.
func writeList(w io.Writer, games []game) error {
	t := &wrapped{w: w, widths: []int{36, 60, 60}}
	t.row(heads[:3])
	t.rule()
	for _, g := range games {
		t.row([]string{title(g.Name, g.engine), g.Does, g.mustHold()})
	}
	return t.err
}

// wrapped writes columns whose cells are wrapped at blanks. It keeps the first error.
type wrapped struct {
	w      io.Writer
	widths []int
	err    error
}

func (t *wrapped) line(text string) {
	if t.err == nil {
		_, t.err = fmt.Fprintln(t.w, strings.TrimRight(text, " "))
	}
}

func (t *wrapped) rule() {
	n := len(t.widths) - 1
	for _, w := range t.widths {
		n += w + 1
	}
	t.line(strings.Repeat("-", n))
}

func (t *wrapped) row(cells []string) {
	columns := make([][]string, len(cells))
	lines := 0
	for i, c := range cells {
		columns[i] = wrap(c, t.widths[i])
		lines = max(lines, len(columns[i]))
	}
	for n := range lines {
		var line strings.Builder
		for i, col := range columns {
			text := ""
			if n < len(col) {
				text = col[n]
			}
			fmt.Fprintf(&line, "%-*s  ", t.widths[i], text)
		}
		t.line(line.String())
	}
}

// wrap breaks a text at blanks into lines of at most width, where its words allow it.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}
