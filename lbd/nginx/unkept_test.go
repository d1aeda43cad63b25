package nginx

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What StateDir does not take is logged once as long as the cause lasts.
func TestWhatCantBeKeptIsLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	dir := t.TempDir()
	n, err := New(Options{StateDir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	outs := []*output{{real: "/etc/up.conf"}}
	keep := func(times int) {
		for i := range times {
			n.record(proof{Sums: n.keepVerified(outs, func(*output) []byte { return []byte{byte(i)} })})
			n.tidy.Wait()
		}
	}
	said := func(want int) {
		t.Helper()
		for _, msg := range []string{"cannot keep the proof", "cannot keep what was proven"} {
			if got := strings.Count(log.String(), msg); got != want {
				t.Errorf("%q %d times, want %d:\n%s", msg, got, want, log.String())
			}
		}
	}
	obstacles := []string{n.proofFile() + ".new", n.verifiedFile("/etc/up.conf") + ".new"}
	obstruct := func() {
		for _, path := range obstacles {
			if err := os.MkdirAll(filepath.Join(path, "in the way"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	obstruct()
	keep(5)
	said(1)
	for _, path := range obstacles {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	keep(2)
	said(1)
	obstruct()
	keep(5)
	said(2)
}
