package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// script writes a program into dir.
func script(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestProgramCheck(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("BB_SECRET", "s3cret")
	script(t, dir, "good", "exit 0")
	script(t, dir, "bad", "echo one; echo 'QUEUE CRITICAL - 900 waiting' >&2; exit 2")
	script(t, dir, "mute", "exit 3")
	script(t, dir, "shot", "kill -9 $$")
	script(t, dir, "env", `[ -z "$BB_SECRET" ] && [ "$(pwd)" = / ] && [ "$1" = '$(id); x' ]`)
	script(t, dir, "leaves", "sleep 600 & exit 0") // its group is killed, so that nothing holds the output open
	script(t, dir, "floods", "yes xxxxxxxxxxxxxxxxxxxxx | head -c 300000; echo; echo end; exit 1")
	for name, want := range map[string]string{
		"good": "", "bad": "exit code 2: QUEUE CRITICAL - 900 waiting", "mute": "exit code 3", "shot": "killed by killed",
		"leaves": "", "floods": "exit code 1: end",
	} {
		wantLook(t, dir, "{name: p, program: {argv: ["+name+"]}}", want)
	}
	wantLook(t, dir, `{name: p, program: {argv: [env, "$(id); x"]}}`, "")
	gone := script(t, dir, "gone", "exit 0")
	p, err := (&ProgramCheck{Argv: []string{gone}}).prepare(host{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	if err := p(t.Context()); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("error %v", err)
	}
}

// At its limit of time a program ends with all that it started.
func TestProgramIsKilledWhole(t *testing.T) {
	dir := t.TempDir()
	pids := filepath.Join(dir, "pids")
	script(t, dir, "hangs", "sleep 600 & echo $! >"+pids+"; echo $$ >>"+pids+"; wait")
	p, err := (&ProgramCheck{Argv: []string{"hangs"}}).prepare(host{path: []string{dir, "/usr/bin", "/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p(ctx) }()
	var lines []string
	serverstest.Eventually(t, soon, func() error {
		text, err := os.ReadFile(pids)
		if lines = strings.Fields(string(text)); len(lines) != 2 {
			return fmt.Errorf("pids %q, %w", lines, err)
		}
		return nil
	})
	cancel()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("no error")
		}
	case <-time.After(soon):
		t.Fatal("it goes on")
	}
	for _, line := range lines {
		pid, err := strconv.Atoi(line)
		if err != nil {
			t.Fatal(err)
		}
		serverstest.Eventually(t, soon, func() error {
			if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(stat), ") Z ") && syscall.Kill(pid, 0) == nil {
				return fmt.Errorf("process %d lives", pid)
			}
			return nil
		})
	}
}

// systemd does not run where tests do: its program is played, with the words of the real one.
func TestSystemdCheck(t *testing.T) {
	dir := t.TempDir()
	script(t, dir, "systemctl", `[ "$1 $2 $3" = "show --property=LoadState,ActiveState,SubState,Result --" ] || exit 9
case $4 in
up.service) printf 'LoadState=loaded\nActiveState=active\nSubState=running\nResult=success\n' ;;
reload.service) printf 'LoadState=loaded\nActiveState=reloading\nSubState=reload\nResult=success\n' ;;
down.service) printf 'LoadState=loaded\nActiveState=inactive\nSubState=dead\nResult=success\n' ;;
broken.service) printf 'LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\n' ;;
none.service) printf 'LoadState=not-found\nActiveState=inactive\nSubState=dead\nResult=success\n' ;;
*) echo 'Failed to connect to bus: No such file or directory' >&2; exit 1 ;;
esac`)
	for unit, want := range map[string]string{
		"up.service": "", "reload.service": "", "down.service": "down.service is inactive (dead)",
		"broken.service": "broken.service is failed (failed): exit-code", "none.service": "there is no unit none.service",
		"x": "systemctl show: exit status 1: Failed to connect to bus",
	} {
		wantLook(t, dir, "{name: u, systemd: {unit: "+unit+"}}", want)
	}
}
