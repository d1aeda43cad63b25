package load_test

import (
	"fmt"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// methods are the two kinds of run that the rules about repeating tell apart.
var methods = map[string]float64{http.MethodGet: 0, http.MethodPost: 1}

// want compares all counts but those by method and node.
func want(t *testing.T, got load.Counts, want load.Counts) {
	t.Helper()
	if got.Outcome != want.Outcome || got.Reopened != want.Reopened || got.Connects != want.Connects || got.Dropped != want.Dropped ||
		!maps.Equal(got.ByReason, want.ByReason) {
		t.Errorf("counts\n got %+v\nwant %+v", got, want)
	}
}

func TestConnectionClosedWhileIdleIsReopened(t *testing.T) {
	for method, share := range methods {
		t.Run(method, func(t *testing.T) {
			s := serve(t, func(int, *http.Request) (string, after) { return ok, closes })
			r := run(t, s.addr, 20, load.Options{PostShare: share, OnDone: func(load.Sample) { <-s.closed }})
			want(t, r.Counts, load.Counts{Outcome: load.Outcome{Sent: 20, OK: 20}, Connects: 20, Reopened: 19})
		})
	}
}

// The race that a reload of Nginx brings: the request is on its way when the
// server closes the idle connection.
func TestConnectionClosedUnderTheRequest(t *testing.T) {
	secondOnIt := func(n int, _ *http.Request) (string, after) {
		if n == 0 {
			return ok, keep
		}
		return "", closes
	}
	t.Run("GET is repeated", func(t *testing.T) {
		r := run(t, serve(t, secondOnIt).addr, 20, load.Options{})
		want(t, r.Counts, load.Counts{Outcome: load.Outcome{Sent: 20, OK: 20, Repeated: 19}, Connects: 20})
	})
	t.Run("POST fails", func(t *testing.T) {
		r := run(t, serve(t, secondOnIt).addr, 20, load.Options{PostShare: 1})
		want(t, r.Counts, load.Counts{Outcome: load.Outcome{Sent: 20, OK: 10, Failed: 10}, Connects: 10, ByReason: map[string]int64{"closed": 10}})
	})
}

func TestRequestOnAFreshConnectionIsNotRepeated(t *testing.T) {
	for method, share := range methods {
		t.Run(method, func(t *testing.T) {
			s := serve(t, func(int, *http.Request) (string, after) { return "", closes })
			r := run(t, s.addr, 10, load.Options{PostShare: share})
			want(t, r.Counts, load.Counts{Outcome: load.Outcome{Sent: 10, Failed: 10}, Connects: 10, ByReason: map[string]int64{"closed": 10}})
		})
	}
}

func TestRepeatedRequestMayFailToo(t *testing.T) {
	answered := false
	s := serve(t, func(int, *http.Request) (string, after) {
		if !answered {
			answered = true
			return ok, keep
		}
		return "", closes
	})
	r := run(t, s.addr, 2, load.Options{})
	want(t, r.Counts, load.Counts{Outcome: load.Outcome{Sent: 2, OK: 1, Failed: 1, Repeated: 1}, Connects: 2, ByReason: map[string]int64{"closed": 1}})
}

func TestFailuresAreCountedByReason(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		then         after
		reason       string
		connects     int64
	}{
		{"status", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", keep, "status 503", 1},
		{"redirect", "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", keep, "status 302", 1},
		{"status and close", "HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", closes, "status 502", 5},
		{"short body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", closes, "cut short", 5},
		{"short head", "HTTP/1.1 200 OK\r\nContent-", closes, "cut short", 5},
		{"short chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", closes, "cut short", 5},
		{"no last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", closes, "cut short", 5},
		{"not http", "SSH-2.0-OpenSSH_9.6\r\n\r\n", keep, "protocol", 5},
		{"bad length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", keep, "protocol", 5},
		{"bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", keep, "protocol", 5},
		{"endless header", "HTTP/1.1 200 OK\r\nX: " + string(make([]byte, 5000)) + "\r\n\r\n", keep, "protocol", 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, func(int, *http.Request) (string, after) { return c.answer, c.then })
			r := run(t, s.addr, 5, load.Options{})
			want(t, r.Counts, load.Counts{Outcome: load.Outcome{Sent: 5, Failed: 5}, Connects: c.connects, ByReason: map[string]int64{c.reason: 5}})
		})
	}
}

func TestTimeoutIsNotRepeated(t *testing.T) {
	const timeout = 200 * time.Millisecond
	for name, answer := range map[string]string{"no answer": "", "half an answer": "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(n int, _ *http.Request) (string, after) {
				if n == 0 {
					return ok, keep
				}
				return answer, hang
			})
			var r load.Report
			for range 5 { // the first request may be too late, too, on a machine that stands still
				if r = run(t, s.addr, 2, load.Options{Timeout: timeout}); r.OK > 0 {
					break
				}
			}
			want(t, r.Counts, load.Counts{Outcome: load.Outcome{Sent: 2, OK: 1, Failed: 1}, Connects: 1, ByReason: map[string]int64{"timeout": 1}})
			if got := r.Service.Max(); got < timeout {
				t.Errorf("a request timed out after %v, want %v or more", got, timeout)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	addr := servers.Loopback(serverstest.Ports(t, 1)[0])
	r := run(t, addr, 5, load.Options{Conns: 2})
	want(t, r.Counts, load.Counts{Outcome: load.Outcome{Sent: 5, Failed: 5}, ByReason: map[string]int64{"connect": 5}})
}

func TestAnswersOfEveryShape(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		then         after
		connects     int64
	}{
		{"length", ok, keep, 1},
		{"bare line feeds", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", keep, 1},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n", keep, 1},
		{"chunks and a length", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 99\r\n\r\n0\r\n\r\n", keep, 1},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n", keep, 1},
		{"interim first", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + ok, keep, 1},
		{"close announced", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", closes, 5},
		{"close announced, not done", "HTTP/1.1 200 OK\r\nconnection: Close\r\nContent-Length: 2\r\n\r\nok", keep, 5},
		{"until close", "HTTP/1.1 200 OK\r\n\r\neverything up to the end", closes, 5},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", keep, 5},
		{"HTTP/1.0 kept alive", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", keep, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, func(int, *http.Request) (string, after) { return c.answer, c.then })
			r := run(t, s.addr, 5, load.Options{})
			want(t, r.Counts, load.Counts{Outcome: load.Outcome{Sent: 5, OK: 5}, Connects: c.connects})
		})
	}
}

func TestSampleSaysWhatBecameOfARequest(t *testing.T) {
	s := serve(t, func(n int, r *http.Request) (string, after) {
		if r.ContentLength != 3 || r.Host == "" {
			return "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", keep
		}
		return fmt.Sprintf("HTTP/1.1 201 Created\r\nServed-By: n%d\r\nContent-Length: 0\r\n\r\n", n), keep
	})
	var samples []load.Sample
	r := run(t, s.addr, 2, load.Options{
		PostShare: 1, Body: []byte("abc"), NodeHeader: "served-by",
		OnDone: func(s load.Sample) { samples = append(samples, s) },
	})
	for i, got := range samples {
		if got.Method != http.MethodPost || got.Status != 201 || got.Node != fmt.Sprintf("n%d", i) || got.Repeated || got.Err != nil ||
			got.Start.Before(got.Scheduled) || got.End.Before(got.Start) {
			t.Errorf("sample %d: %+v", i, got)
		}
	}
	if byNode := map[string]int64{"n0": 1, "n1": 1}; len(samples) != 2 || !maps.Equal(r.ByNode, byNode) {
		t.Errorf("%d samples, by node %v, want 2 and %v", len(samples), r.ByNode, byNode)
	}
}
