package harness

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
)

// Print writes the table, what failed and why, and the sum.
func (r *Report) Print(w io.Writer, colour bool) error {
	paint := painter(colour)
	for _, n := range r.Notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
	if r.Network == networkLoopback {
		fmt.Fprintln(w, "note: without a network of its own: the addresses in server lines stand for some of 127.0.0.1")
	}
	if err := r.table(w, paint); err != nil {
		return err
	}
	for _, f := range r.failures() {
		fmt.Fprintf(w, "\n%s %s\n", paint(red, "FAILED"), f.title)
		for line := range strings.Lines(f.text) {
			fmt.Fprintf(w, "  %s\n", paintLine(paint, strings.TrimRight(line, "\n")))
		}
	}
	_, err := fmt.Fprintf(w, "\n%s\n", r.sum(paint))
	return err
}

// show writes what was rendered: each text once, whichever Nginx played it.
func (r *Report) show(w io.Writer, colour bool) {
	paint, shown := painter(colour), map[string]bool{}
	for _, row := range r.Results {
		title := fmt.Sprintf("%s × %s, engine %s", row.Template, row.Case, row.Engine)
		if row.Rendered == "" || shown[title+row.Rendered] {
			continue
		}
		shown[title+row.Rendered] = true
		fmt.Fprintf(w, "%s %s\n%s\n", paint(blue, "RENDERED"), title, row.Rendered)
	}
}

func (r *Report) table(w io.Writer, paint func(string, string) string) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TEMPLATE\tCASE\tNGINX\tENGINE\tRESULT\tGOLDEN\tREQUESTS\tWENT TO")
	for _, row := range r.Results {
		result := "ok"
		if !row.OK {
			result = "FAILED"
		}
		golden := row.Golden
		if golden == "" {
			golden = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", row.Template, row.Case, row.Nginx, row.Engine, result, golden, row.Requests, row.Went)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	// Colour comes after the columns: tabwriter would count it.
	text := strings.ReplaceAll(b.String(), "  FAILED  ", "  "+paint(red, "FAILED")+"  ")
	_, err := io.WriteString(w, text)
	return err
}

// failure is one fault, and the rows that have it.
type failure struct{ title, text string }

// failures are the faults of all rows. One that several cases or versions have in common stands there once, as the first
// of them has it.
func (r *Report) failures() (list []failure) {
	type rows struct {
		template, text  string
		cases, versions []string
	}
	var order []*rows
	same := map[string]*rows{}
	for _, row := range r.Results {
		for _, text := range row.Faults {
			key := row.Template + "\x00" + kindOf(text, row.Case)
			f := same[key]
			if f == nil {
				f = &rows{template: row.Template, text: text}
				same[key], order = f, append(order, f)
			}
			f.cases, f.versions = with(f.cases, row.Case), with(f.versions, row.Nginx)
		}
	}
	for _, f := range order {
		title := fmt.Sprintf("%s × %s, nginx %s", f.template, listed(f.cases), strings.Join(f.versions, ", "))
		if len(f.cases) > 1 {
			title += " (shown: " + f.cases[0] + ")"
		}
		list = append(list, failure{title, f.text})
	}
	return list
}

func with(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

var outputDigits = regexp.MustCompile(`\d+`)

// kindOf is equal for faults that are the same thing to mend: what is said of the same line of a template.
func kindOf(text, name string) string {
	if !strings.HasPrefix(text, "template ") {
		return name + "\x00" + text
	}
	place, said, _ := strings.Cut(text, "\n")
	said, _, _ = strings.Cut(said, "\n  rendered:")
	return place + outputDigits.ReplaceAllString(said, "")
}

// sum is the last line.
func (r *Report) sum(paint func(string, string) string) string {
	failed, requests, seconds := 0, 0, 0.0
	templates, cases, versions := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, row := range r.Results {
		if !row.OK {
			failed++
		}
		requests, seconds = requests+row.Requests, seconds+row.Seconds
		templates[row.Template], cases[row.Case], versions[row.Nginx] = true, true, true
	}
	word := paint(green, "ok")
	if failed > 0 {
		word = paint(red, fmt.Sprintf("%d FAILED", failed))
	}
	return fmt.Sprintf("%s: %d rows (%d templates, %d cases, %d Nginx), %d requests sent, %.1f s", word, len(r.Results),
		len(templates), len(cases), len(versions), requests, seconds)
}

// The colours of a terminal.
const (
	red   = "\x1b[31m"
	green = "\x1b[32m"
	blue  = "\x1b[36m"
	plain = "\x1b[0m"
)

func painter(colour bool) func(how, text string) string {
	if !colour {
		return func(_, text string) string { return text }
	}
	return func(how, text string) string { return how + text + plain }
}

// paintLine gives the lines of a diff, and the marked line of an excerpt, their colours.
func paintLine(paint func(string, string) string, line string) string {
	switch {
	case strings.HasPrefix(line, "@@"):
		return paint(blue, line)
	case strings.HasPrefix(line, "+"):
		return paint(green, line)
	case strings.HasPrefix(line, "-"), strings.HasPrefix(line, "  > "):
		return paint(red, line)
	}
	return line
}
