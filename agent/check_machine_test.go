package agent

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

func TestDiskCheck(t *testing.T) {
	wantLook(t, "", "{name: d, disk: {path: /, min_free: 1KiB}}", "")
	wantLook(t, "", "{name: d, disk: {path: /, min_free: 99.999%}}", "% free, want 99.999%")
	wantLook(t, "", "{name: d, disk: {path: /no/such, min_free: 1%}}", "/no/such: ")
	for _, c := range []struct {
		a           Amount
		free, whole uint64
		want        string
	}{
		{Amount{Percent: 10}, 10, 100, ""},
		{Amount{Percent: 10}, 999, 10000, "/d: 9.9% free, want 10%"},
		{Amount{Percent: 10}, 0, 0, "/d: 0.0% free, want 10%"},
		{Amount{Bytes: 5 << 30}, 5 << 30, 1 << 40, ""},
		{Amount{Bytes: 5 << 30}, 3 << 29, 1 << 40, "/d: 1.5 GiB free, want 5 GiB"},
		{Amount{Bytes: 2000}, 100, 1 << 40, "/d: 100 B free, want 1.95 KiB"},
	} {
		got := ""
		if err := c.a.want("/d", c.free, c.whole); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%v of %v, %v: %q, want %q", c.free, c.whole, c.a, got, c.want)
		}
	}
}

func TestLoadCheck(t *testing.T) {
	wantLook(t, "", "{name: l, load: {per_core: 1000}}", "")
	c := LoadCheck{PerCore: 1.5}
	if err := c.want(6, 4); err != nil {
		t.Error(err)
	}
	if err := c.want(6.4, 4); err == nil || err.Error() != "load 6.40 on 4 cores is 1.60 each, want 1.5 at most" {
		t.Errorf("error %v", err)
	}
}

func TestProcessCheck(t *testing.T) {
	dir := t.TempDir()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("bb-check-of-%d", os.Getpid()) // longer than the kernel's 15 characters
	if err := os.Symlink(sleep, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, name), "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pidFile := filepath.Join(dir, "pid")
	if err := os.WriteFile(pidFile, fmt.Appendln(nil, cmd.Process.Pid), 0o600); err != nil {
		t.Fatal(err)
	}
	byName := `{name: p, process: {name: ` + name + `}}`
	byPID := `{name: p, process: {pid_file: "` + pidFile + `"}}`
	both := `{name: p, process: {name: ` + name + `, pid_file: "` + pidFile + `"}}`
	serverstest.Eventually(t, soon, func() error { return look(t, "", byName) }) // it has to exec
	wantLook(t, "", byPID, "")
	wantLook(t, "", both, "")
	wantLook(t, "", strings.Replace(both, name, "nginx", 1), `is "`+name+`", not nginx`)

	// Dead and not reaped yet: it is there, and does nothing any more.
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	serverstest.Eventually(t, soon, func() error {
		if look(t, "", byPID) == nil {
			return fmt.Errorf("process %d is taken for alive", cmd.Process.Pid)
		}
		return nil
	})
	wantLook(t, "", byName, "no process "+name)
	_ = cmd.Wait()
	wantLook(t, "", byPID, "does not run")
	if err := os.WriteFile(pidFile, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantLook(t, "", byPID, "holds no process id")
	wantLook(t, "", `{name: p, process: {pid_file: /no/such.pid}}`, "no such file")
}
