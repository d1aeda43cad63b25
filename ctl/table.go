package ctl

import (
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/bazbeans/bazbeans/cli"
)

// column of a table. When the table is wider than the terminal, columns with a least width are cut down to it, the
// last first; then columns that are not kept are left out, the last first; then the first column is cut.
type column struct {
	name  string
	least int  // cells; 0: never cut
	keep  bool // never left out
	right bool // aligned right: figures
}

// table is rows of text under columns. Cells are made printable when they are added.
type table struct {
	columns []column
	rows    [][]string
	colour  func(column, text string) colour // nil: none
}

func (t *table) add(cells ...string) {
	for i := range cells {
		cells[i] = strings.TrimSpace(cli.Printable(cells[i], 1000))
	}
	t.rows = append(t.rows, cells)
}

// gap between columns, in cells.
const gap = 2

// write prints the table in at most width cells a line (0: as wide as it is), with no space at a line's end.
func (t *table) write(w io.StringWriter, width int) {
	shown, widths := t.fit(width)
	t.line(w, shown, widths, func(i int) string { return t.columns[i].name }, false)
	for _, row := range t.rows {
		t.line(w, shown, widths, func(i int) string { return row[i] }, t.colour != nil)
	}
}

func (t *table) line(w io.StringWriter, shown, widths []int, cell func(int) string, colour bool) {
	var b strings.Builder
	owed := 0 // spaces before the next text
	for _, i := range shown {
		text := cut(cell(i), widths[i])
		pad := widths[i] - cells(text)
		if t.columns[i].right {
			owed, pad = owed+pad, 0
		}
		if text != "" {
			b.WriteString(strings.Repeat(" ", owed))
			owed = 0
			if colour {
				b.WriteString(t.colour(t.columns[i].name, text).paint(text))
			} else {
				b.WriteString(text)
			}
		}
		owed += pad + gap
	}
	b.WriteByte('\n')
	_, _ = w.WriteString(b.String()) // to a buffer
}

// fit says which columns are shown and how wide each may be.
func (t *table) fit(width int) (shown, widths []int) {
	natural := make([]int, len(t.columns))
	for i, c := range t.columns {
		natural[i] = cells(c.name)
		for _, row := range t.rows {
			natural[i] = max(natural[i], cells(row[i]))
		}
		shown = append(shown, i)
	}
	if width == 0 {
		return shown, natural
	}
	for {
		widths = slices.Clone(natural)
		over := -width - gap
		for _, i := range shown {
			over += widths[i] + gap
		}
		for _, i := range slices.Backward(shown) {
			if least := t.columns[i].least; over > 0 && least > 0 {
				less := min(over, max(0, widths[i]-max(least, cells(t.columns[i].name))))
				widths[i] -= less
				over -= less
			}
		}
		if over <= 0 {
			return shown, widths
		}
		last := -1
		for at, i := range shown {
			if !t.columns[i].keep {
				last = at
			}
		}
		if last < 0 {
			widths[shown[0]] = max(8, widths[shown[0]]-over)
			return shown, widths
		}
		shown = slices.Delete(shown, last, last+1)
	}
}

// cells is how many cells of a terminal a text takes.
func cells(s string) (n int) {
	for _, r := range s {
		n += runeCells(r)
	}
	return n
}

// runeCells follows East Asian Width (Unicode TR 11) as far as whole blocks go.
func runeCells(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3, r >= 0xf900 && r <= 0xfaff,
		r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1faff,
		r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}

// cut shortens a text to most cells, the last of them an ellipsis.
func cut(s string, most int) string {
	if cells(s) <= most {
		return s
	}
	n := 0
	for i, r := range s {
		if n += runeCells(r); n >= most {
			return s[:i] + "…"
		}
	}
	return s
}

// colour is an ANSI code; "" leaves the text as it is.
type colour string

const (
	green  colour = "32"
	yellow colour = "33"
	red    colour = "31"
	dim    colour = "2"
)

func (c colour) paint(text string) string {
	if c == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// paint colours a text where stdout is a terminal that wants it.
func (s *session) paint(c colour, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return c.paint(text)
}
