package plot

import (
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Sizes in pixels.
const (
	width   = 960.0
	margin  = 28.0
	row     = 76.0 // height of a series
	swarm   = 58.0 // of it, for dots
	dot     = 2.4  // radius
	column  = 68.0 // of numbers, right of the dots
	top     = 112.0
	bottom  = 58.0
	perRune = 7.6 // width of a letter of a name, about
)

// colours can be told apart by colour-blind eyes too (Okabe and Ito, 2008).
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"}

// picture is the SVG so far.
type picture struct{ strings.Builder }

func (p *picture) addf(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

func (p *picture) text(x, y float64, attributes, text string) {
	if text == "" {
		return
	}
	var escaped strings.Builder
	xml.EscapeText(&escaped, []byte(text)) // a strings.Builder takes everything
	p.addf(`<text x="%.1f" y="%.1f" %s>%s</text>`, x, y, attributes, escaped.String())
}

// tick is the mark of a quantile: p50 a bar, p95 a thinner one with a gap.
func (p *picture) tick(x, middle, half float64, thickness float64, dash string) {
	p.addf(`<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#111" stroke-width="%g" stroke-dasharray="%s"/>`, x, x, middle-half, middle+half, thickness, dash)
}

func (p *picture) p50(x, middle, half float64) { p.tick(x, middle, half, 3, "none") }
func (p *picture) p95(x, middle, half float64) { p.tick(x, middle, half, 1.6, "4 3") }

// legend explains the marks, and heads the columns of numbers.
func (p *picture) legend(x float64) {
	const y = 92.0
	p.addf(`<circle cx="%.1f" cy="%g" r="3.5" fill="#888"/>`, x+4, y-4)
	p.text(x+14, y, "", "one measurement")
	p.p50(x+150, y-4, 8)
	p.text(x+160, y, "", "p50")
	p.p95(x+212, y-4, 8)
	p.text(x+222, y, "", "p95")
	for i, head := range []string{"p50", "p95", "max"} {
		p.text(columnEnd(i), y, `text-anchor="end" font-weight="bold"`, head)
	}
}

// columnEnd is the right edge of a column of numbers.
func columnEnd(i int) float64 { return width - margin - column*float64(2-i) }

func (p *picture) axis(s scale, name string, y float64) {
	for _, tick := range s.ticks {
		x := s.x(tick)
		p.addf(`<line x1="%.1f" x2="%.1f" y1="%g" y2="%g" stroke="#e2e2e2"/>`, x, x, top, y)
		p.text(x, y+18, `text-anchor="middle" fill="#555"`, label(tick))
	}
	p.addf(`<line x1="%.1f" x2="%.1f" y1="%g" y2="%g" stroke="#999"/>`, s.left, s.left+s.width, y, y)
	p.text(s.left+s.width/2, y+42, `text-anchor="middle"`, name)
}

func (p *picture) series(s scale, series Series, y float64, colour string) {
	values := slices.Sorted(slices.Values(series.Values))
	middle := y + row/2
	p.text(margin, middle-1, `font-weight="bold" fill="`+colour+`"`, series.Name)
	p.text(margin, middle+16, `font-size="11" fill="#777"`, fmt.Sprintf("n = %d", len(values)))
	p.addf(`<g fill="%s" fill-opacity="0.45">`, colour)
	p.dots(s, thin(values), middle)
	p.addf(`</g>`)
	p50, p95 := quantile(values, 0.50), quantile(values, 0.95)
	p.p50(s.x(p50), middle, swarm/2+4)
	p.p95(s.x(p95), middle, swarm/2+4)
	for i, v := range []float64{p50, p95, values[len(values)-1]} {
		p.text(columnEnd(i), middle+4, `text-anchor="end"`, label(v))
	}
}

// dots stacks the dots that would lie on one another above and below the
// middle of the row; each is drawn within a dot's radius of its place on the
// axis. All stacks of a row are equally dense, so that their heights show the
// distribution.
func (p *picture) dots(s scale, values []float64, middle float64) {
	stack := func(v float64) int { return int(math.Round(s.x(v) / (2 * dot))) }
	sizes := map[int]int{}
	largest := 0
	for _, v := range values {
		sizes[stack(v)]++
		largest = max(largest, sizes[stack(v)])
	}
	gap := min(2*dot, swarm/float64(largest))
	for _, v := range values {
		sizes[stack(v)]--
		i := sizes[stack(v)]                                  // its place in the stack: 0 in the middle,
		offset := float64((i+1)/2) * gap * float64(1-2*(i%2)) // then one below, one above, …
		p.addf(`<circle cx="%.1f" cy="%.1f" r="%g"/>`, float64(stack(v))*2*dot, middle-offset, dot)
	}
}
