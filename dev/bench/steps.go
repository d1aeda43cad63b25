package main

import (
	"bufio"
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/step"
)

// stepTime is the sum over all runs of a step.
type stepTime struct {
	seconds float64
	count   float64
}

// stepTimes are how long each step has taken.
type stepTimes map[step.Name]stepTime

func (t stepTimes) add(name step.Name, took time.Duration) {
	sum := t[name]
	t[name] = stepTime{sum.seconds + took.Seconds(), sum.count + 1}
}

// since adds what came between two looks at the same steps.
func (t stepTimes) since(before, after stepTimes) {
	for name, now := range after {
		sum, was := t[name], before[name]
		t[name] = stepTime{sum.seconds + now.seconds - was.seconds, sum.count + now.count - was.count}
	}
}

// stepMean is one step, on average.
type stepMean struct {
	Step  step.Name `json:"step"`
	Mean  float64   `json:"mean_ms"`
	Count int       `json:"count"`
}

// means are those of all steps that were taken, in their order.
func (t stepTimes) means() []stepMean {
	var means []stepMean
	for _, name := range step.Names {
		if s := t[name]; s.count > 0 {
			means = append(means, stepMean{Step: name, Mean: 1000 * s.seconds / s.count, Count: int(s.count)})
		}
	}
	return means
}

// parseSteps finds lbd_step_seconds_sum{step="test"} 0.123 and its _count in the text format of Prometheus.
func parseSteps(text []byte) stepTimes {
	t := stepTimes{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), "lbd_step_seconds_")
		if !ok {
			continue
		}
		what, rest, _ := strings.Cut(rest, `{step="`)
		name, value, _ := strings.Cut(rest, `"} `)
		number, err := strconv.ParseFloat(value, 64)
		if err != nil {
			continue
		}
		s := t[step.Name(name)]
		switch what {
		case "sum":
			s.seconds = number
		case "count":
			s.count = number
		default:
			continue
		}
		t[step.Name(name)] = s
	}
	return t
}
