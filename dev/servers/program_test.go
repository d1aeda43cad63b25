package servers_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

func TestProgram(t *testing.T) {
	dir := serverstest.Dir(t)
	p, err := servers.StartProgram(dir, "sh", "-c", "trap 'echo got it; exit 3' USR1; echo ready; while :; do sleep 0.01; done")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	for !strings.Contains(p.Log(), "ready") {
		time.Sleep(time.Millisecond)
	}
	if !p.Alive() {
		t.Fatal("it has ended")
	}
	if err := p.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if p.Alive() || p.Err() == nil || p.Err().Error() != "exit status 3" || !strings.Contains(p.LogTail(), "got it") {
		t.Errorf("alive %v, ended with %v, log %q", p.Alive(), p.Err(), p.Log())
	}
	if err := p.Signal(syscall.SIGUSR1); err != nil {
		t.Errorf("a signal after its end: %v", err)
	}
	if err := p.Stop(); err != nil {
		t.Errorf("a stop after its end: %v", err)
	}
	if _, err := servers.StartProgram(dir, "/no/such/program"); err == nil {
		t.Error("a program that is not there was started")
	}
}
