package harness

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/lbd"
	"github.com/bazbeans/bazbeans/render"
)

// fault is why a template's output can't be used: who says so, and where it comes from.
type fault struct {
	upstream string
	name     string // of the template
	template string // its file, or built-in NAME
	source   []string
	trace    render.Trace

	line int // of the template; 0: unknown
	at   int // of what it wrote; 0: unknown
	said []saying
}

// saying is what somebody says, of one or more lines.
type saying struct{ who, text string }

// newFault is a fault of the upstream's template; hasView is false when lbd came no further than its settings.
func newFault(templates *render.Set, view render.View, u lbd.UpstreamConfig, hasView bool) *fault {
	f := &fault{upstream: u.Name, name: u.Template, template: templates.Source(u.Template), source: linesOf(templates.Text(u.Template))}
	if f.template == builtIn {
		f.template += " " + f.name
	}
	if hasView {
		f.trace = templates.Trace(view)
	}
	return f
}

// byLBD adds what lbd says, and takes the place from it.
func (f *fault) byLBD(said string) {
	short := strings.ReplaceAll(said, "upstream "+f.upstream+": ", "")
	short = strings.TrimPrefix(strings.TrimPrefix(short, "render: "), "template "+f.template+": ")
	f.said = append(f.said, saying{"lbd", short})
	if f.line = lineIn(said, f.template); f.line > 0 { // it could not be parsed or executed: so far it came
		f.at = len(f.trace.Lines)
		return
	}
	if found := outputLine.FindStringSubmatch(short); found != nil {
		f.wrote(number(found[1]))
	}
}

// byNginx adds what Nginx says of a line of the output; 0 when it names none. n is nil when it was not asked.
func (f *fault) byNginx(n *Nginx, said string, line int) {
	who := "nginx"
	if n != nil {
		who += " " + n.Version
	}
	f.said = append(f.said, saying{who, said})
	if f.at == 0 {
		f.wrote(line)
	}
}

// wrote takes a line of the output for the faulty one. The end of the file is a line more than there is.
func (f *fault) wrote(line int) {
	if f.at = min(line, len(f.trace.Lines)); f.at > 0 {
		f.line = f.trace.Lines[f.at-1]
	}
}

// String is the report: the place, who says what, and the lines around it.
func (f *fault) String() string {
	var b strings.Builder
	b.WriteString("template " + f.template)
	if f.line > 0 {
		fmt.Fprintf(&b, ":%d", f.line)
	}
	b.WriteString("\n")
	for _, s := range f.said {
		for i, line := range linesOf(strings.TrimSpace(s.text)) {
			if i == 0 {
				line = s.who + ": " + line
			} else {
				line = "  " + line
			}
			b.WriteString("  " + line + "\n")
		}
	}
	if f.line > 0 {
		excerpt(&b, "template", f.source, f.line)
	}
	excerpt(&b, "rendered", linesOf(string(f.trace.Text)), f.at)
	return strings.TrimRight(b.String(), "\n")
}

const around = 4 // lines before and after the faulty one

// excerpt writes the numbered lines around one of them, which is marked; without one the first lines.
func excerpt(b *strings.Builder, title string, lines []string, at int) {
	if len(lines) == 0 {
		return
	}
	at = min(at, len(lines))
	first, last := max(1, at-around), min(len(lines), max(at, around+1)+around)
	width := len(strconv.Itoa(last))
	fmt.Fprintf(b, "  %s:\n", title)
	for n := first; n <= last; n++ {
		mark := " "
		if n == at {
			mark = ">"
		}
		fmt.Fprintf(b, "  %s %*d | %s\n", mark, width, n, cli.Printable(strings.TrimRight(lines[n-1], " \t\r"), 200))
	}
}

func linesOf(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

var outputLine = regexp.MustCompile(`\bline (\d+)\b`)

const builtIn = "built-in" // what render.Set.Source says

// lineIn is the line of the template that an error of its parsing or execution names; 0 for none.
func lineIn(said, path string) int {
	found := regexp.MustCompile(regexp.QuoteMeta(path) + `:(\d+)`).FindStringSubmatch(said)
	if found == nil {
		return 0
	}
	return number(found[1])
}

func number(digits string) int {
	n, _ := strconv.Atoi(digits) // a pattern found them
	return n
}
