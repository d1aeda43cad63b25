// Package plot draws named series of durations as one SVG picture, a row of
// dots for each: every measurement is a dot, so that outliers, steps and gaps
// show which an average hides. It draws this one kind of picture and nothing
// else, and depends on nothing.
package plot

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// Series are the measurements of one thing.
type Series struct {
	Name   string
	Of     string    // whose they are: rows of the same have the same colour; default: Name
	Values []float64 // milliseconds, any order
}

// Chart is a picture. Rows stand in the order of Series.
type Chart struct {
	Title    string
	Subtitle string // what was measured, and how; may be empty
	Axis     string // what the axis shows, such as "freeze to last request"
	Log      bool   // logarithmic axis; all values must be above 0
	Series   []Series
}

// WriteSVG draws the chart. The same chart gives the same bytes.
func (c Chart) WriteSVG(w io.Writer) error {
	if err := c.check(); err != nil {
		return fmt.Errorf("draw chart: %w", err)
	}
	var p picture
	height := top + row*float64(len(c.Series)) + bottom
	p.addf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" width="%g" height="%g" font-family="Helvetica, Arial, sans-serif" font-size="13" fill="#333">`, width, height, width, height)
	p.addf(`<rect width="100%%" height="100%%" fill="#fff"/>`)
	p.text(margin, 38, `font-size="20" font-weight="bold" fill="#111"`, c.Title)
	p.text(margin, 60, `fill="#555"`, c.Subtitle)
	s := c.scale()
	p.legend(s.left)
	p.axis(s, c.Axis, top+row*float64(len(c.Series)))
	owners := map[string]int{}
	for i, series := range c.Series {
		of := series.Of
		if of == "" {
			of = series.Name
		}
		if _, known := owners[of]; !known {
			owners[of] = len(owners)
		}
		p.series(s, series, top+row*float64(i), colours[owners[of]%len(colours)])
	}
	p.addf(`</svg>`)
	if _, err := io.WriteString(w, p.String()); err != nil {
		return fmt.Errorf("write chart: %w", err)
	}
	return nil
}

func (c Chart) check() error {
	if len(c.Series) == 0 {
		return errors.New("no series")
	}
	for _, s := range c.Series {
		if len(s.Values) == 0 {
			return fmt.Errorf("series %q has no values", s.Name)
		}
		for _, v := range s.Values {
			if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 || c.Log && v == 0 {
				return fmt.Errorf("series %q: %v ms cannot be drawn", s.Name, v)
			}
		}
	}
	return nil
}

func (c Chart) scale() scale {
	smallest, largest, longest := math.Inf(1), 0.0, 0
	for _, s := range c.Series {
		smallest = min(smallest, slices.Min(s.Values))
		largest = max(largest, slices.Max(s.Values))
		longest = max(longest, len([]rune(s.Name)))
	}
	left := margin + perRune*float64(longest) + 20
	return newScale(c.Log, smallest, largest, left, width-margin-3*column-24-left)
}
