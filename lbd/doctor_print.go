package lbd

import (
	"fmt"
	"io"
	"strings"

	"github.com/bazbeans/bazbeans/cli"
)

// printWidth is that of the narrowest terminal that people use. What is to be pasted is never broken.
const printWidth = 80

const doctorPage = "docs/doctor.md"

// printFindings prints the findings by group, a line for each and, under it, what it means and the fix.
func printFindings(w io.Writer, findings []finding) error {
	var b strings.Builder
	group := ""
	count := map[level]int{}
	for _, f := range findings {
		count[f.Level]++
		if f.Group != group {
			if group != "" {
				b.WriteString("\n")
			}
			group = f.Group
			b.WriteString(group + "\n")
		}
		wrap(&b, fmt.Sprintf("  %-7s  ", f.Level), f.Code+": "+f.What)
		if f.Means != "" {
			wrap(&b, strings.Repeat(" ", 11), f.Means)
		}
		if f.Fix != "" {
			wrap(&b, strings.Repeat(" ", 11), "Fix, "+f.Where+":")
			for line := range strings.SplitSeq(f.Fix, "\n") {
				b.WriteString(strings.Repeat(" ", 13) + cli.Printable(line, 1000) + "\n")
			}
		}
	}
	b.WriteString("\n")
	for _, l := range []level{levelOK, levelNote, levelWarning, levelProblem} {
		word := string(l)
		if l != levelOK && count[l] != 1 {
			word += "s"
		}
		fmt.Fprintf(&b, "%d %s, ", count[l], word)
	}
	b.WriteString("explained in " + doctorPage + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// wrap writes text after the mark, and goes on under it where a line is full.
func wrap(b *strings.Builder, mark, text string) {
	line := mark
	empty := true
	for _, word := range strings.Fields(cli.Printable(text, 2000)) {
		if !empty && len([]rune(line))+1+len([]rune(word)) > printWidth {
			b.WriteString(line + "\n")
			line, empty = strings.Repeat(" ", len(mark)), true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	b.WriteString(line + "\n")
}
