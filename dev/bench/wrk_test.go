package main

import (
	"strings"
	"testing"
)

const wrkSays = `Running 1s test @ http://127.0.0.1:22033/
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   501.84us  215.67us   5.10ms   90.19%
    Req/Sec    15.99k     1.04k   17.45k    70.00%
  15909 requests in 1.00s, 2.50MB read
Requests/sec:  15892.61
Transfer/sec:      2.50MB
`

func TestParseWrk(t *testing.T) {
	if requests, rate, err := parseWrk(wrkSays); err != nil || requests != 15909 || rate != 15892.61 {
		t.Errorf("%v requests, %v a second, %v", requests, rate, err)
	}
	for _, text := range []string{
		"",
		"unable to connect to 127.0.0.1:1",
		strings.Replace(wrkSays, "Requests/sec:", "  Socket errors: connect 0, read 1, write 0, timeout 0\nRequests/sec:", 1),
		strings.Replace(wrkSays, "Requests/sec:", "  Non-2xx or 3xx responses: 15909\nRequests/sec:", 1),
		strings.Replace(wrkSays, "15909 requests", "0 requests", 1),
	} {
		if _, _, err := parseWrk(text); err == nil {
			t.Errorf("no error for:\n%s", text)
		}
	}
}

// TestBlast sends real load to a front with nodes, and to one without.
func TestBlast(t *testing.T) {
	s := newSite(t)
	o := options{Conns: 4, WrkFor: 1, wrk: "wrk"}
	c, err := startCrowd(t.Context(), s, 300)
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.fixed(t.Context(), s, "static", usual, webOptions{most: 4096, spread: true})
	if err != nil {
		t.Fatal(err)
	}
	if page, err := get(t.Context(), f.addr(), pagePath); err != nil || len(page) != 16<<10 {
		t.Errorf("a page of %d bytes: %v", len(page), err)
	}
	b, err := blast(t.Context(), f, "/", o)
	if err != nil || b.Rate < 100 || b.CPU <= 0 || b.CPU > 1e4 {
		t.Errorf("%+v %v", b, err)
	}
	empty, err := startWeb(t.Context(), s, "empty", webOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := blast(t.Context(), empty, "/", o); err == nil || !strings.Contains(err.Error(), "Non-2xx") {
		t.Errorf("a front that answers with 502: %+v %v", b, err)
	}
	runs, err := inTurn(t.Context(), []front{f, f}, pagePath, 1, o, t.Output(), "test")
	if err != nil || len(runs) != 2 || len(runs[0]) != 1 || len(runs[1]) != 1 {
		t.Errorf("runs %v %v", runs, err)
	}
}

// newSite is a site with Redis and two nodes, n1 and n2.
func newSite(t *testing.T) *site {
	t.Helper()
	s, err := startSite(t.Context(), options{Nodes: 2}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
