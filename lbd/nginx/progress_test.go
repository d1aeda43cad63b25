package nginx

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bazbeans/bazbeans/step"
)

// However many tests an Apply holds, and however slow they are, it says after each of them, and after what comes then, that
// it goes on: a watchdog must not take slow for hung.
func TestProgress(t *testing.T) {
	t.Parallel()
	s := running(t)
	real, err := exec.LookPath("nginx")
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(s.dir, "runs")
	slow := filepath.Join(s.dir, "slow-nginx")
	// It tells the number of the run, and how often Progress was called before.
	var calls atomic.Int64
	seen := filepath.Join(s.dir, "calls")
	script := fmt.Sprintf("#!/bin/sh\ncase $1 in -t|-T) cat %s >> %s; echo >> %s; sleep 0.3;; esac\nexec %s \"$@\"\n", seen, log, log, real)
	if err := os.WriteFile(slow, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	note := func() {
		if err := os.WriteFile(seen, fmt.Append(nil, calls.Load()), 0o600); err != nil {
			t.Error(err)
		}
	}
	note()
	s.n = s.open(Options{Binary: slow, Progress: func() { calls.Add(1); note() }})
	// Two files that each other needs to be looked at for an order: three tests and more.
	s.write("conf.d/b.conf", "map $host $b { default 0; }\n")
	files := func(gen2 string) []File {
		return []File{{Path: s.out, Data: []byte("map $host $gen { default " + gen2 + "; }\nmap $host $c { default 1; }\n")},
			{Path: filepath.Join(s.dir, "conf.d/b.conf"), Data: []byte("map $host $b { default $gen; }\n")}}
	}
	s.apply(files("p1")...)
	s.serves("p1")
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	runs := strings.Fields(string(text))
	if len(runs) < 2 {
		t.Fatalf("%d tests: not what this test is about", len(runs))
	}
	for i, before := range runs {
		if before != fmt.Sprint(i) {
			t.Errorf("test %d began after %s calls", i+1, before)
		}
	}
	if got, want := calls.Load(), int64(len(runs)+2); got != want {
		t.Errorf("%d calls for %d tests, a signal and its proof", got, len(runs))
	}
	// One that is refused calls, too.
	calls.Store(0)
	s.refuses(step.Test, []File{{Path: s.out, Data: []byte("nonsense;\n")}}, "nonsense")
	if calls.Load() < 1 {
		t.Error("none for a test that was refused")
	}
}
