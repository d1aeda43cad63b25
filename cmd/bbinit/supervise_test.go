package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// idle waits for signals; a script's trap runs as soon as one has come.
const idle = "while :; do sleep 0.02; done"

// marking leaves a mark for each signal it is sent, and ends on the last.
func marking(name, ends string, others ...string) string {
	text := "echo " + name + "-up >>log; trap 'echo " + name + "-" + ends + " >>log; exit 0' " + ends + "; "
	for _, o := range others {
		text += "trap 'echo " + name + "-" + o + " >>log' " + o + "; "
	}
	return text + "echo $$ >" + name + ".tmp; mv " + name + ".tmp " + name + ".pid; " + idle
}

func TestMainsEndIsTheEnd(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		main string
		want int
	}{{"exit 0", 0}, {"exit 7", 7}, {"kill -9 $$", 137}, {"kill -TERM $$", 143}} {
		b := begin(t, nil, "until [ -e second.pid ]; do sleep 0.02; done; "+tc.main, marking("second", "TERM"))
		if got := b.ends(); got != tc.want {
			t.Errorf("%s: bbinit ends with %d, want %d\n%s", tc.main, got, tc.want, b.out.String())
		}
		b.sees("second-up", "second-TERM")
	}
}

// Workers of a killed Nginx would go on serving.
func TestNothingIsLeftBehind(t *testing.T) {
	t.Parallel()
	b := begin(t, nil, "setsid sh -c 'trap : TERM QUIT HUP; echo $$ >worker.tmp; mv worker.tmp worker.pid; "+idle+"' & until [ -e worker.pid ]; do sleep 0.02; done; kill -9 $$", "")
	worker := b.pid("worker.pid")
	if got := b.ends(); got != 137 {
		t.Errorf("bbinit ends with %d, want 137", got)
	}
	if err := syscall.Kill(worker, 0); err != syscall.ESRCH {
		t.Errorf("the worker %d of a killed main lives: %v", worker, err)
	}
}

func TestSecondComesBackAndMainNeverNotices(t *testing.T) {
	t.Parallel()
	b := begin(t, []string{"--stop=QUIT"}, marking("main", "QUIT", "TERM", "HUP"), marking("second", "TERM"))
	main, first := b.pid("main.pid"), b.pid("second.pid")
	if err := os.Remove(filepath.Join(b.dir, "second.pid")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if again := b.pid("second.pid"); again == first {
		t.Errorf("second is still process %d", again)
	}
	if err := syscall.Kill(main, 0); err != nil {
		t.Errorf("main is gone: %v", err)
	}
	b.until("the log says it", func() bool { return strings.Contains(b.out.String(), `"code":137,"restart_in":"1s"`) })
	b.signal(syscall.SIGTERM)
	if got := b.ends(); got != 0 {
		t.Errorf("bbinit ends with %d, want 0", got)
	}
	marks := strings.Join(b.marks(), " ")
	if !strings.HasSuffix(marks, "second-up second-TERM main-QUIT") {
		t.Errorf("second has to end before main: %s", marks)
	}
}

// bbagent ends with 5 when a newer agent has its node id: to come back would take it away from that one.
func TestSecondThatRefusesStaysAway(t *testing.T) {
	t.Parallel()
	b := begin(t, nil, marking("main", "TERM"), "echo second-up >>log; exit 5")
	b.until("bbinit says so", func() bool { return strings.Contains(b.out.String(), "refuses to run") })
	b.pid("main.pid")
	b.signal(syscall.SIGTERM)
	if got := b.ends(); got != 0 {
		t.Errorf("bbinit ends with %d, want 0", got)
	}
}

func TestSignals(t *testing.T) {
	t.Parallel()
	b := begin(t, []string{"--pass=HUP,usr1"}, marking("main", "TERM", "HUP", "USR1"), marking("second", "TERM", "HUP", "USR1"))
	b.pid("main.pid")
	b.pid("second.pid")
	count := func(mark string) (n int) {
		for _, m := range b.marks() {
			if m == mark {
				n++
			}
		}
		return n
	}
	b.signal(syscall.SIGHUP)
	b.until("both heard HUP", func() bool { return count("main-HUP") == 1 && count("second-HUP") == 1 })
	b.signal(syscall.SIGUSR1)
	b.until("main heard USR1", func() bool { return count("main-USR1") == 1 })
	b.signal(syscall.SIGQUIT)
	if got := b.ends(); got != 0 {
		t.Errorf("bbinit ends with %d, want 0", got)
	}
	if count("second-USR1") != 0 {
		t.Errorf("second heard what was for main: %s", b.marks())
	}
}

// An operator who asks three times gets what he wants, whatever the programs say.
func TestImpatience(t *testing.T) {
	t.Parallel()
	deaf := func(name string) string {
		return "trap 'echo " + name + "-TERM >>log' TERM; echo $$ >" + name + ".tmp; mv " + name + ".tmp " + name + ".pid; " + idle
	}
	b := begin(t, []string{"--stop=QUIT"}, deaf("main"), deaf("second"))
	b.pid("main.pid")
	b.pid("second.pid")
	b.signal(syscall.SIGTERM)
	b.sees("second-TERM")
	b.signal(syscall.SIGTERM)
	b.until("both heard TERM", func() bool { return len(b.marks()) == 3 })
	b.signal(syscall.SIGTERM)
	if got := b.ends(); got != 137 {
		t.Errorf("bbinit ends with %d, want 137", got)
	}
}

func TestMainWaitsForItsTest(t *testing.T) {
	t.Parallel()
	b := begin(t, []string{"--test=test -e ready"}, "echo main-up >>log; exit 3", "echo second-up >>log; sleep 0.3; >ready; "+idle)
	if got := b.ends(); got != 3 {
		t.Errorf("bbinit ends with %d, want 3", got)
	}
	b.sees("second-up", "main-up")
	b = begin(t, []string{"--test=true"}, marking("main", "TERM"), "until [ -e main.pid ]; do sleep 0.02; done; echo second-up >>log; "+idle)
	b.sees("main-up", "second-up")
	b.signal(syscall.SIGTERM)
	if got := b.ends(); got != 0 {
		t.Errorf("bbinit ends with %d, want 0", got)
	}
	b = begin(t, []string{"--test=false", "--test-timeout=300ms"}, "exit 4", "")
	if got := b.ends(); got != 4 || !strings.Contains(b.out.String(), "did not pass in time") {
		t.Errorf("bbinit ends with %d, want 4\n%s", got, b.out.String())
	}
}

// A stop that comes before main was begun needs no main.
func TestStopWhileMainWaits(t *testing.T) {
	t.Parallel()
	b := begin(t, []string{"--test=false"}, "echo main-up >>log", marking("second", "TERM"))
	b.pid("second.pid")
	b.signal(syscall.SIGTERM)
	if got := b.ends(); got != 0 {
		t.Errorf("bbinit ends with %d, want 0", got)
	}
	b.sees("second-up", "second-TERM")
}

func TestOrphansAreReaped(t *testing.T) {
	t.Parallel()
	b := begin(t, nil, "for i in 1 2 3 4 5; do (setsid sh -c 'echo orphan >>log' &); done; echo $$ >main.pid; trap 'exit 0' TERM; "+idle, "")
	main := b.pid("main.pid")
	b.sees("orphan", "orphan", "orphan", "orphan", "orphan")
	b.until("no child but main is left, dead or alive", func() bool {
		c := b.children()
		return len(c) == 1 && c[0] == main
	})
	b.signal(syscall.SIGTERM)
	b.ends()
}
