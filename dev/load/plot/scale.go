package plot

import (
	"math"
	"strconv"
)

// scale maps milliseconds to pixels, linearly from 0 or by their logarithm.
type scale struct {
	log       bool
	low, high float64 // milliseconds at the ends of the axis
	left      float64 // pixels
	width     float64
	ticks     []float64 // milliseconds
}

func (s scale) x(ms float64) float64 {
	if s.log {
		return s.left + s.width*math.Log(ms/s.low)/math.Log(s.high/s.low)
	}
	return s.left + s.width*(ms-s.low)/(s.high-s.low)
}

// newScale covers the values from smallest to largest with round ends.
func newScale(log bool, smallest, largest, left, width float64) scale {
	s := scale{log: log, left: left, width: width}
	if log {
		s.ticks = logTicks(smallest, largest)
	} else {
		s.ticks = linearTicks(largest)
	}
	s.low, s.high = s.ticks[0], s.ticks[len(s.ticks)-1]
	return s
}

// steps are the round numbers of a decade.
var steps = []float64{1, 2, 5}

// linearTicks go from 0 to the first tick at or above largest: 3 to 7 steps.
func linearTicks(largest float64) []float64 {
	if largest <= 0 {
		largest = 1
	}
	decade := math.Pow(10, math.Floor(math.Log10(largest))-1)
	step := decade
	for i := 0; largest/step > 7; i++ {
		step = steps[i%3] * decade * math.Pow(10, float64(i/3))
	}
	ticks := []float64{0}
	for i := 1; ticks[i-1] < largest; i++ {
		ticks = append(ticks, float64(i)*step)
	}
	return ticks
}

// logTicks are 1, 2 and 5 of each decade around the values, over three decades
// and more only the 1.
func logTicks(smallest, largest float64) []float64 {
	of := steps
	if largest/smallest >= 1000 {
		of = steps[:1]
	}
	var ticks []float64
	for exp := int(math.Floor(math.Log10(smallest))); ; exp++ {
		for _, step := range of {
			tick := step * math.Pow(10, float64(exp))
			if len(ticks) > 0 && tick <= smallest {
				ticks = ticks[:0] // only the last tick below the values is wanted
			}
			ticks = append(ticks, tick)
			if tick >= largest && len(ticks) > 1 {
				return ticks
			}
		}
	}
}

// label writes milliseconds with three digits, whole seconds and up as such.
func label(ms float64) string {
	unit := " ms"
	if ms >= 1000 {
		ms, unit = ms/1000, " s"
	}
	digits := 3
	if ms >= 100 {
		digits = int(math.Log10(ms)) + 1
	}
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(ms, 'g', digits, 64), 64)
	if err != nil {
		panic(err) // a number just written is a number
	}
	return strconv.FormatFloat(rounded, 'f', -1, 64) + unit
}
