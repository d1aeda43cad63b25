package machine

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Backend is an application in the machine that answers with its name, until the test ends.
func (m *Machine) Backend(t testing.TB, name, addr string) {
	t.Helper()
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) })}
	ln := m.Listen(t, addr)
	go srv.Serve(ln) // ends with Close
	t.Cleanup(func() { srv.Close() })
}

// Client dials in the machine's network. Close its idle connections.
func (m *Machine) Client() *http.Client {
	return &http.Client{Timeout: Soon, Transport: &http.Transport{
		DialContext:     func(_ context.Context, _, addr string) (net.Conn, error) { return m.Dial(addr) },
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the certificate is the machine's own
	}}
}

// Get fetches a page in the machine.
func (m *Machine) Get(url string) (code int, body string, err error) {
	c := m.Client()
	defer c.CloseIdleConnections()
	return get(c, url)
}

func get(c *http.Client, url string) (code int, body string, err error) {
	resp, err := c.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// Serves waits until exactly these backends answer at url, named in order; state says how it is instead.
func (m *Machine) Serves(t testing.TB, url string, state func() string, backends ...string) {
	t.Helper()
	c := m.Client()
	defer c.CloseIdleConnections()
	want, got := strings.Join(backends, " "), ""
	Eventually(t, "nginx sends to "+want, func() bool {
		seen := map[string]bool{}
		for range 20 {
			time.Sleep(rand.N(2 * time.Millisecond)) // in step with other traffic it would meet every second backend alone
			if code, name, err := get(c, url); err == nil && code == http.StatusOK {
				seen[name] = true
			}
		}
		got = strings.Join(slices.Sorted(maps.Keys(seen)), " ")
		return got == want
	}, func() string { return fmt.Sprintf("it sends to %q; %s", got, state()) })
}

// UnderTraffic sends requests to url while fn does something to the machine: no request may fail.
func (m *Machine) UnderTraffic(t testing.TB, url string, fn func()) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	var mu sync.Mutex
	sent, failed := 0, []error(nil)
	for range 2 {
		all.Go(func() {
			c := m.Client()
			defer c.CloseIdleConnections()
			for ctx.Err() == nil {
				code, body, err := get(c, url)
				if err == nil && code != http.StatusOK {
					err = fmt.Errorf("%d %s", code, body)
				}
				mu.Lock()
				if sent++; err != nil {
					failed = append(failed, err)
				}
				mu.Unlock()
				time.Sleep(2 * time.Millisecond) // the rate of the load, not a wait
			}
		})
	}
	defer func() {
		stop()
		all.Wait()
		if len(failed) > 0 || sent == 0 {
			t.Errorf("%d of %d requests failed: %v", len(failed), sent, failed[:min(3, len(failed))])
		}
		t.Logf("%d requests", sent)
	}()
	fn()
}
