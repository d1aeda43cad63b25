package agent

import (
	"encoding/pem"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestHTTPCheck(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("state: ok\n")) })
	mux.HandleFunc("/sick", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "queue is full", http.StatusServiceUnavailable)
	})
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/sick", http.StatusFound) })
	mux.HandleFunc("/long", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(strings.Repeat("x", bodyMost) + "ok"))
	})
	mux.HandleFunc("/asked", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(r.Method + " " + r.Host + " " + r.Header.Get("X-Token")))
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // settings do not come from there
	for _, c := range []struct{ settings, want string }{
		{`url: "URL/ok"`, ""},
		{`url: "URL/ok", status: [200], body: "^state: (ok|fine)"`, ""},
		{`url: "URL/ok", body: "fine"`, `answers 200, and its body does not match "fine"`},
		{`url: "URL/ok", status: [201, 3xx]`, "answers 200 OK"},
		{`url: "URL/sick"`, "answers 503 Service Unavailable"},
		{`url: "URL/sick", status: [500-599], body: full`, ""},
		{`url: "URL/moved"`, ""}, // the redirect itself is the answer
		{`url: "URL/moved", status: [2xx]`, "answers 302 Found"},
		{`url: "URL/moved", redirect: true`, "answers 503"},
		{`url: "URL/long", body: ok`, "does not match"}, // beyond what is read
		{`url: "URL/asked", method: post, headers: {host: app.example.com, x-token: s3}, body: "^POST app.example.com s3$"`, ""},
	} {
		wantLook(t, "", "{name: app, http: {"+strings.ReplaceAll(c.settings, "URL", srv.URL)+"}}", c.want)
	}
	err := look(t, "", `{name: app, http: {url: "http://127.0.0.1:1/?token=s3cret"}}`) // where nobody listens
	if err == nil || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("error %v", err)
	}
}

func TestChecksOverTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // half of the handshakes are to fail
	srv.StartTLS()
	defer srv.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	web, tcp := `{name: app, http: {url: "`+srv.URL+`", tls: {`, `{name: app, tcp: {address: "`+srv.Listener.Addr().String()+`", tls: {`
	for _, kind := range []string{web, tcp} {
		wantLook(t, "", kind+`}}}`, "certificate signed by unknown authority")
		wantLook(t, "", kind+`ca: "`+ca+`"}}}`, "")
		wantLook(t, "", kind+`ca: "`+ca+`", server_name: example.com}}}`, "")
		wantLook(t, "", kind+`ca: "`+ca+`", server_name: other.example.org}}}`, "other.example.org")
		wantLook(t, "", kind+`insecure: true}}}`, "")
	}
}

func TestTCPCheck(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	wantLook(t, "", `{name: db, tcp: {address: "`+l.Addr().String()+`"}}`, "")
	wantLook(t, "", `{name: db, tcp: {address: "127.0.0.1:1"}}`, "connection refused")
}

// A server that takes the connection and says nothing is what a limit of time is for.
func TestDeafServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a := newSite(t, func(c *Config) {
		c.Checks = []Check{{Name: "deaf", HTTP: &HTTPCheck{URL: "http://" + l.Addr().String()},
			Timing: Timing{Timeout: Duration(50 * time.Millisecond)}}}
	}).agent
	if said := a.checks.askAll(t.Context()); said["deaf"] != "no answer within 50ms" {
		t.Errorf("said %q", said)
	}
}
