package agent

import (
	"fmt"
	"time"
)

// How flapping is damped: a fall within flapQuiet of the last rise is a flap, and each flap doubles the good answers
// that the next rise takes, flapMost times at most. Each flapQuiet without a fall takes one flap back.
const (
	flapQuiet = 10 * time.Minute
	flapMost  = 3 // so at most 8 times rise
)

// judge turns answers into a verdict: fall bad ones in a row make it unwell, rise good ones in a row make it well. The
// words are HAProxy's. A judge that is new is unwell until the first good answer, whatever rise says.
type judge struct {
	fall, rise int

	why       string // it is unwell; "" while well. The text is that of the moment it began
	fresh     bool   // no good answer yet
	good, bad int    // answers in a row
	flaps     int
	rose      time.Time // after the last fall; zero: it never fell
}

// hear takes an answer, "" for a good one, and reports whether the verdict or its text has changed.
func (j *judge) hear(why string, now time.Time) bool {
	if why == "" {
		return j.hearGood(now)
	}
	j.bad, j.good = j.bad+1, 0
	switch {
	case j.fresh && j.bad == 1:
		j.why = why
		return true
	case j.why == "" && j.bad >= j.fall:
		j.countFlap(now)
		j.why = why
		if j.flaps > 0 {
			j.why += fmt.Sprintf(" (flapping: back after %d good in a row)", j.needs())
		}
		return true
	}
	return false
}

func (j *judge) hearGood(now time.Time) bool {
	j.good, j.bad = j.good+1, 0
	if j.why == "" || j.good < j.needs() {
		return false
	}
	if !j.fresh {
		j.rose = now
	}
	j.why, j.fresh = "", false
	return true
}

// needs is how many good answers in a row the next rise takes.
func (j *judge) needs() int {
	if j.fresh {
		return 1
	}
	return j.rise << j.flaps
}

func (j *judge) countFlap(now time.Time) {
	if j.rose.IsZero() {
		return
	}
	if quiet := int(now.Sub(j.rose) / flapQuiet); quiet > 0 {
		j.flaps = max(0, j.flaps-quiet)
		return
	}
	j.flaps = min(j.flaps+1, flapMost)
}

// progress says how far a judge that is unwell has come back; "" for one that is well.
func (j *judge) progress() string {
	if j.why == "" {
		return ""
	}
	return fmt.Sprintf("%d of %d in a row", j.good, j.needs())
}
