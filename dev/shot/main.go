// Command shot turns what a terminal showed into a picture: text with colours as `tmux capture-pane -ep` prints it on
// its standard input, an SVG on its standard output. It knows colours and bold, and no cursor.
package main

import (
	"fmt"
	"html"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

func main() {
	title := strings.Join(os.Args[1:], " ")
	text, err := io.ReadAll(os.Stdin)
	if err == nil {
		_, err = os.Stdout.WriteString(picture(title, string(text)))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "shot:", err)
		os.Exit(1)
	}
}

// A cell, and what is around the text, in pixels.
const (
	cellWide, cellHigh = 8.4, 19
	margin, bar        = 16, 34
)

// The colours of a dark terminal; 0 to 7 are ANSI's.
var colours = []string{"#3b4252", "#f2777a", "#7fd48a", "#f0c674", "#7aa6da", "#c397d8", "#70c0b1", "#d5d9e0"}

const (
	background = "#1e2227"
	foreground = "#d5d9e0"
	faint      = "#868e99"
)

// style is how the next characters look.
type style struct {
	colour string
	bold   bool
}

func (s style) attributes() string {
	a := ` fill="` + s.colour + `"`
	if s.bold {
		a += ` font-weight="bold"`
	}
	return a
}

func picture(title, text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	wide := utf8.RuneCountInString(title) + 10
	for _, l := range lines {
		wide = max(wide, utf8.RuneCountInString(strings.TrimRight(escapes.ReplaceAllString(l, ""), " ")))
	}
	w, h := float64(wide)*cellWide+2*margin, float64(len(lines)*cellHigh+bar+margin)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img" aria-label="%s">`+"\n", w, h, w, h, html.EscapeString(title))
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" rx="8" fill="%s"/>`+"\n", background)
	for i, c := range []string{"#f2777a", "#f0c674", "#7fd48a"} {
		fmt.Fprintf(&b, `<circle cx="%d" cy="17" r="5" fill="%s"/>`, margin+5+i*17, c)
	}
	fmt.Fprintf(&b, "\n"+`<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="14" xml:space="preserve">`+"\n")
	fmt.Fprintf(&b, `<text x="%.1f" y="21" fill="%s" text-anchor="middle" font-size="13">%s</text>`+"\n", w/2, faint, html.EscapeString(title))
	st := style{colour: foreground}
	for i, line := range lines {
		st = writeLine(&b, line, float64(bar+i*cellHigh)+14, st)
	}
	b.WriteString("</g>\n</svg>\n")
	return b.String()
}

// words are texts with no more than single spaces in them.
var words = regexp.MustCompile(`\S+(?: \S+)*`)

var escapes = regexp.MustCompile(`\x1b\[([0-9;]*)m`)

// writeLine puts each word of one look where its cells are, whatever the font; what has no letters is no word.
func writeLine(b *strings.Builder, line string, y float64, st style) style {
	column := 0
	for line != "" {
		at := escapes.FindStringSubmatchIndex(line)
		run, codes := line, ""
		if at != nil {
			run, codes = line[:at[0]], line[at[2]:at[3]]
		}
		for _, w := range words.FindAllStringIndex(run, -1) {
			word := run[w[0]:w[1]]
			x := margin + float64(column+utf8.RuneCountInString(run[:w[0]]))*cellWide
			fmt.Fprintf(b, `<text x="%.1f" y="%.1f" textLength="%.1f" lengthAdjust="spacingAndGlyphs"%s>%s</text>`+"\n",
				x, y, float64(utf8.RuneCountInString(word))*cellWide, st.attributes(), html.EscapeString(word))
		}
		column += utf8.RuneCountInString(run)
		if at == nil {
			return st
		}
		st = st.with(codes)
		line = line[at[1]:]
	}
	return st
}

// with is the style after some codes of an escape.
func (s style) with(codes string) style {
	if codes == "" {
		return style{colour: foreground}
	}
	for _, c := range strings.Split(codes, ";") {
		switch n, _ := strconv.Atoi(c); { // a code that is no number is 0
		case n == 0:
			s = style{colour: foreground}
		case n == 1:
			s.bold = true
		case n == 2:
			s.colour = faint
		case n == 22:
			s.bold = false
		case n >= 30 && n <= 37:
			s.colour = colours[n-30]
		case n >= 90 && n <= 97:
			s.colour = colours[n-90]
		case n == 39:
			s.colour = foreground
		}
	}
	return s
}
