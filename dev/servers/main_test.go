package servers_test

import (
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(orphanDir); dir != "" {
		beParent(dir)
	}
	if os.Getenv(portsOnly) != "" {
		printPorts()
		return
	}
	goleak.VerifyTestMain(m)
}

// orphanDir tells this test binary, started by a test, to start servers below
// that folder and wait to be killed.
const orphanDir = "BAZBEANS_TEST_ORPHANS"

func again(t *testing.T, dir string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), orphanDir+"="+dir)
	cmd.Stderr = t.Output()
	return cmd
}
