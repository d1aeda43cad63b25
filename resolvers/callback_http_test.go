package resolvers

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestServiceOutcomes(t *testing.T) {
	var conns atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := strings.TrimPrefix(r.URL.Path, "/nodes/")
		if r.Method != http.MethodGet || r.URL.RawQuery != "dc=1" || r.Header.Get("Accept-Encoding") != "" || r.Header.Get("Authorization") != "" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		switch id {
		case "found":
			fmt.Fprintln(w, "10.0.0.1:8000")
		case "json":
			fmt.Fprint(w, `"10.0.0.2:80"`)
		case "null":
			fmt.Fprint(w, "null")
		case "empty":
		case "moved":
			http.Redirect(w, r, "/nodes/found?dc=1", http.StatusFound)
		case "html":
			fmt.Fprint(w, "<html>Sign in</html>")
		case "text":
			fmt.Fprint(w, "no such node")
		case "created":
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, "10.0.0.1")
		case "slowly":
			fmt.Fprint(w, "10.0.0.1")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "cut":
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "10.0.0.1")
		default:
			var code int
			fmt.Sscanf(id, "n%d", &code)
			w.WriteHeader(code)
		}
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	host := strings.TrimPrefix(s.URL, "http://")
	c := callback(t, CallbackOptions{URL: s.URL + "/nodes/{node_id}?dc=1", Timeout: 2 * time.Second})
	for id, want := range map[string]string{
		"found":   "10.0.0.1",
		"json":    "10.0.0.2",
		"null":    "not mine",
		"empty":   "not mine",
		"n204":    "not mine",
		"n404":    "not mine",
		"n410":    "not mine",
		"n401":    host + " answers 401 Unauthorized",
		"n429":    host + " answers 429 Too Many Requests",
		"n500":    host + " answers 500 Internal Server Error",
		"n503":    host + " answers 503 Service Unavailable",
		"moved":   host + " answers 302 Found",
		"created": host + " answers 201 Created",
		"html":    host + ": it answers with a web page",
		"text":    `"no such node" is not an IP address, or one with a port (like 10.0.1.10 or 10.0.1.10:8000)`,
		"slowly":  host + ": no answer within 2s",
		"cut":     host + ": unexpected EOF",
	} {
		finally(t, c.Cache, id, is(want))
	}
	if err := c.Close(); err != nil { // what has failed is asked for again and again
		t.Error(err)
	}
	before := conns.Load()
	const parallel = 2
	c = callback(t, CallbackOptions{URL: s.URL + "/nodes/{node_id}?dc=1", Timeout: time.Minute, Parallel: parallel})
	for i := range 10 {
		finally(t, c.Cache, fmt.Sprintf("n4%02d", i+30), func(said string) bool { return strings.Contains(said, "answers") })
	}
	if n := conns.Load() - before; n > parallel {
		t.Errorf("%d connections: they are not kept", n)
	}
}

func TestServiceBatch(t *testing.T) {
	var runs atomic.Int32
	answer := atomic.Pointer[string]{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		runs.Add(1)
		if fixed := answer.Load(); fixed != nil {
			fmt.Fprint(w, *fixed)
			return
		}
		var ids []string
		if err := json.NewDecoder(r.Body).Decode(&ids); err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		said := map[string]any{"stranger": "10.0.0.9", "null": nil, "number": 7, "bad": "localhost"}
		for _, id := range ids {
			if id[0] == 'n' && id[1] <= '9' {
				said[id] = "10.0.0.1:80"
			}
		}
		_ = json.NewEncoder(w).Encode(said)
	}))
	defer s.Close()
	o := CallbackOptions{URL: s.URL, Batch: true, Timeout: time.Minute}
	c := callback(t, o)
	all := append(ids(10_000), "null", "number", "bad", "missing")
	got := Answers{}
	for deadline := time.Now().Add(time.Minute); got["n9999"].Port != 80; {
		if time.Now().After(deadline) {
			t.Fatalf("n9999: %+v", got["n9999"])
		}
		var err error
		if got, err = c.Resolve(t.Context(), nodes(all...)); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != 10_002 || !IsRefused(got["number"].Err) || !IsRefused(got["bad"].Err) {
		t.Errorf("%d answers, number %+v, bad %+v", len(got), got["number"], got["bad"])
	}
	if n := runs.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}

	host := strings.TrimPrefix(s.URL, "http://")
	for text, want := range map[string]string{
		`["10.0.0.1"]`:                        host + ": it does not answer with a JSON object of id to address",
		`hello`:                               host + ": it does not answer with a JSON object of id to address",
		`{"a": "10.0.0.1"`:                    host + ": its JSON is broken: EOF",
		`{"a": "10.0.0.1"} {}`:                host + ": there is something after its JSON object",
		`{"a": "10.0.0.1", "a": "10.0.0.2"}`:  "it has two different answers",
		`{"a": "10.0.0.1", "a": "10.0.0.1"}`:  "10.0.0.1",
		`{"b": "10.0.0.1"}`:                   "not mine",
		`{"a": {"address": "10.0.0.1"}}`:      `"{\"address\": \"10.0.0.1\"}" is not an IP address, or one with a port (like 10.0.1.10 or 10.0.1.10:8000)`,
		strings.Repeat(" ", 10_000) + "false": host + ": it says too much",
	} {
		answer.Store(&text)
		finally(t, callback(t, o).Cache, "a", is(want))
	}
}

func TestServiceTrust(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that fail are meant to
	defer s.Close()
	dir := t.TempDir()
	ca, token := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	write(token, "10.0.0.1\n")
	o := CallbackOptions{URL: s.URL + "/{node_id}", TokenFile: token}
	finally(t, callback(t, o).Cache, "n", func(said string) bool { return strings.Contains(said, "certificate signed by unknown authority") })
	o.CA = ca
	c := callback(t, o)
	finally(t, c.Cache, "n", is("10.0.0.1"))
	write(token, "10.0.0.2\n") // a token that was renewed
	finally(t, c.Cache, "m", is("10.0.0.2"))
	write(token, "")
	finally(t, c.Cache, "o", func(said string) bool {
		return strings.Contains(said, "token_file") && !strings.Contains(said, "10.0.0.2")
	})
}

// A service that never stops talking, and one that says nothing: nobody waits, nothing grows, what was known stays.
func TestServiceThatFloodsOrHangs(t *testing.T) {
	mode := atomic.Pointer[string]{}
	set := func(m string) { mode.Store(&m) }
	set("well")
	var sent atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch *mode.Load() {
		case "well":
			fmt.Fprint(w, "10.0.0.1")
		case "hang":
			<-r.Context().Done()
		case "flood":
			n, _ := io.CopyN(w, zeros{}, 1<<30)
			sent.Add(n)
		case "headers":
			for i := range 10_000 {
				w.Header().Set(fmt.Sprintf("X-Header-%d", i), strings.Repeat("x", 100))
			}
		}
	}))
	defer s.Close()
	host := strings.TrimPrefix(s.URL, "http://")
	c := callback(t, CallbackOptions{URL: s.URL + "/?id={node_id}", Timeout: 2 * time.Second})
	finally(t, c.Cache, "a", is("10.0.0.1"))
	for m, why := range map[string]string{"hang": "no answer within 2s", "flood": errTooMuch.Error(), "headers": "headers exceeded 65536 bytes"} {
		set(m)
		c.mu.Lock()
		c.entries["a"].failures = 0
		c.mu.Unlock()
		expire(c.Cache, "a")
		finally(t, c.Cache, "a", func(said string) bool {
			return strings.HasPrefix(said, "10.0.0.1, "+host+": ") && strings.Contains(said, why)
		})
	}
	s.CloseClientConnections()
	if n := sent.Load(); n > 64<<20 {
		t.Errorf("%d bytes were taken", n)
	}
	set("well")
	expire(c.Cache, "a")
	finally(t, c.Cache, "a", is("10.0.0.1"))
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
