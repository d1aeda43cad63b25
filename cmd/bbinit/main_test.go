package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestWords(t *testing.T) {
	ok := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer ok.Close()
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "redis is away", http.StatusServiceUnavailable)
	}))
	defer bad.Close()
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hangs.Close()
	for _, tc := range []struct {
		args string
		code int
		want string
	}{
		{"--help", 0, "bbinit health URL"},
		{"version", 0, "bbinit "},
		{"--version", 0, "bbinit "},
		{"", 2, "say which program to run"},
		{"sh --", 2, "after -- there is no program"},
		{"--stop=KILL sh", 2, `"KILL" is not the name of a signal`},
		{"--pass=HUP,FOO sh", 2, `"FOO" is not the name of a signal`},
		{"--nonsense sh", 2, "unknown flag: --nonsense"},
		{"--log-level=loud sh", 2, "--log-level"},
		{"no-such-program-here", 127, "find program no-such-program-here"},
		{"sh -- /no/such", 127, "find program /no/such"},
		{"--test=no-such-test sh", 127, "find program no-such-test"},
		{"health", 2, "at least one URL"},
		{"health " + ok.URL, 0, ""},
		{"health " + ok.URL + " " + bad.URL, 1, "503 Service Unavailable: redis is away"},
		{"health " + hangs.URL, 1, "deadline exceeded"},
		{"health http://127.0.0.1:1/healthz", 1, "connection refused"},
		{"health :80", 2, "missing protocol scheme"},
	} {
		var out bytes.Buffer
		code := run(strings.Fields(tc.args), &out, &out)
		if code != tc.code || !strings.Contains(out.String(), tc.want) {
			t.Errorf("bbinit %s: exit code %d, want %d with %q\n%s", tc.args, code, tc.code, tc.want, out.String())
		}
	}
}
