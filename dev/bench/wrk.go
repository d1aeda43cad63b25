package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// burst is one run of wrk: as many requests as a front answers.
type burst struct {
	Rate float64 `json:"requests_per_second"`
	CPU  float64 `json:"cpu_us_per_request"` // of the front's processes
}

// blast sends as many GETs as the front answers, over conns keep-alive connections. Any answer but 2xx, and any broken
// connection, is an error: a front that answers with errors is fast.
func blast(ctx context.Context, f front, path string, o options) (burst, error) {
	before, err := frontUse(f)
	if err != nil {
		return burst{}, err
	}
	text, err := exec.CommandContext(ctx, o.wrk, "-t", "1", "-c", strconv.Itoa(o.Conns), "-d", fmt.Sprintf("%ds", o.WrkFor),
		"--timeout", "30s", // for one answer: a machine that stands still is no error of the front's
		"http://"+f.addr()+path).CombinedOutput()
	if err != nil {
		return burst{}, fmt.Errorf("run wrk: %w: %s", err, text)
	}
	after, err := frontUse(f)
	if err != nil {
		return burst{}, err
	}
	requests, rate, err := parseWrk(string(text))
	if err != nil {
		return burst{}, err
	}
	return burst{Rate: rate, CPU: (after.cpu - before.cpu).Seconds() * 1e6 / requests}, nil
}

var (
	wrkRequests = regexp.MustCompile(`(?m)^\s*(\d+) requests in `)
	wrkRate     = regexp.MustCompile(`(?m)^Requests/sec:\s+([\d.]+)`)
)

// parseWrk reads what wrk prints at its end.
func parseWrk(text string) (requests, rate float64, err error) {
	for _, trouble := range []string{"Socket errors:", "Non-2xx or 3xx responses:"} {
		if strings.Contains(text, trouble) {
			return 0, 0, fmt.Errorf("not all requests of wrk were answered well:\n%s", text)
		}
	}
	found, per := wrkRequests.FindStringSubmatch(text), wrkRate.FindStringSubmatch(text)
	if found == nil || per == nil {
		return 0, 0, fmt.Errorf("wrk prints no figures:\n%s", text)
	}
	requests, err1 := strconv.ParseFloat(found[1], 64)
	rate, err2 := strconv.ParseFloat(per[1], 64)
	if err1 != nil || err2 != nil || requests == 0 {
		return 0, 0, fmt.Errorf("wrk prints no figures:\n%s", text)
	}
	return requests, rate, nil
}
