package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// sample has a wide series, a narrow one and a short one.
func sample() Chart {
	r := rand.New(rand.NewPCG(1, 2))
	draw := func(n int, one func() float64) []float64 {
		values := make([]float64, n)
		for i := range values {
			values[i] = one()
		}
		return values
	}
	return Chart{
		Title:    "From freeze to the last request",
		Subtitle: "2,000 requests/s over 32 connections, 3 nodes",
		Axis:     "freeze to the start of the last request on the node",
		Series: []Series{
			{"reload", "", draw(400, func() float64 { return 108 + 12*r.NormFloat64() })},
			{"live", "", draw(400, func() float64 { return 6 + 3*r.ExpFloat64() })},
			{"poll each second", "", draw(60, func() float64 { return 120 + 1000*r.Float64() })},
		},
	}
}

// drawn is what a reader of the SVG finds in it.
type drawn struct {
	dots  map[string]int // by colour
	texts []string
}

// read parses an SVG, which must be well formed and keep within its borders.
func read(t *testing.T, svg []byte) drawn {
	t.Helper()
	d := drawn{dots: map[string]int{}}
	in := xml.NewDecoder(bytes.NewReader(svg))
	colour := ""
	for {
		token, err := in.Token()
		if errors.Is(err, io.EOF) {
			return d
		}
		if err != nil {
			t.Fatalf("read SVG: %v", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			for _, a := range token.Attr {
				switch a.Name.Local {
				case "x", "x1", "x2", "cx":
					if x, err := strconv.ParseFloat(a.Value, 64); err != nil || x < 0 || x > width {
						t.Errorf("%s %s=%q is outside of the picture", token.Name.Local, a.Name.Local, a.Value)
					}
				case "fill":
					if token.Name.Local == "g" {
						colour = a.Value
					}
				}
			}
			if token.Name.Local == "circle" {
				d.dots[colour]++
			}
		case xml.CharData:
			if text := strings.TrimSpace(string(token)); text != "" {
				d.texts = append(d.texts, text)
			}
		}
	}
}

func svg(t *testing.T, c Chart) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := c.WriteSVG(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestEveryMeasurementIsADot(t *testing.T) {
	for _, log := range []bool{false, true} {
		c := sample()
		c.Log = log
		first := svg(t, c)
		d := read(t, first)
		for i, s := range c.Series {
			if got := d.dots[colours[i]]; got != len(s.Values) {
				t.Errorf("log %v: %d dots for %d measurements of %s", log, got, len(s.Values), s.Name)
			}
		}
		all := strings.Join(d.texts, "|")
		for _, text := range []string{c.Title, c.Subtitle, c.Axis, "reload", "live", "poll each second", "n = 60", "p50", "p95", "max", "one measurement"} {
			if !strings.Contains(all, text) {
				t.Errorf("log %v: no text %q in %s", log, text, all)
			}
		}
		if !bytes.Equal(first, svg(t, c)) {
			t.Errorf("log %v: a second drawing differs", log)
		}
	}
}

func TestUnusualCharts(t *testing.T) {
	many := make([]float64, 10*maxDots)
	for i := range many {
		many[i] = float64(i)
	}
	for name, c := range map[string]Chart{
		"one value":         {Series: []Series{{"a", "", []float64{5}}}},
		"one value, log":    {Log: true, Series: []Series{{"a", "", []float64{5}}}},
		"only zero":         {Series: []Series{{"a", "", []float64{0, 0}}}},
		"tiny, log":         {Log: true, Series: []Series{{"a", "", []float64{0.001, 0.0011}}}},
		"huge span, log":    {Log: true, Series: []Series{{"a", "", []float64{0.001, 1e7}}}},
		"long name":         {Series: []Series{{strings.Repeat("long ", 9), "", []float64{1, 2}}}},
		"markup and no one": {Title: `</text><script>"&'`, Series: []Series{{"\xff<b>\x00", "", []float64{1}}}},
		"many":              {Series: []Series{{"a", "", many}}},
	} {
		d := read(t, svg(t, c))
		if got, want := d.dots[colours[0]], min(len(c.Series[0].Values), maxDots); got != want {
			t.Errorf("%s: %d dots, want %d", name, got, want)
		}
	}
}

func TestRowsOfOneOwnerHaveOneColour(t *testing.T) {
	d := read(t, svg(t, Chart{Series: []Series{{"drain, a", "a", []float64{1, 2}}, {"drain, b", "b", []float64{3}}, {"back, a", "a", []float64{4}}}}))
	if d.dots[colours[0]] != 3 || d.dots[colours[1]] != 1 {
		t.Errorf("dots %v, want three of the first colour and one of the second", d.dots)
	}
}

func TestWhatCannotBeDrawn(t *testing.T) {
	for name, c := range map[string]Chart{
		"no series": {},
		"no values": {Series: []Series{{"a", "", nil}}},
		"NaN":       {Series: []Series{{"a", "", []float64{math.NaN()}}}},
		"infinite":  {Series: []Series{{"a", "", []float64{math.Inf(1)}}}},
		"negative":  {Series: []Series{{"a", "", []float64{-1}}}},
		"zero, log": {Log: true, Series: []Series{{"a", "", []float64{1, 0}}}},
	} {
		var out bytes.Buffer
		if err := c.WriteSVG(&out); err == nil || out.Len() > 0 {
			t.Errorf("%s: %v and %d bytes, want an error and none", name, err, out.Len())
		}
	}
}
