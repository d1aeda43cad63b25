package nginxtest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// soon bounds every wait for something that takes moments on a quiet machine. It is longer than what a stall of some
// seconds costs beside itself: a look at Redis that took long has lbd keep what is missing for one heartbeat TTL more.
const soon = time.Minute

// bin is the folder with the binaries under test, built once.
var bin string

func TestMain(m *testing.M) {
	// The tests mostly wait, so more of them run at once than there are processors; -parallel on the command line wins.
	if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil {
		panic(err) // every test binary has that flag
	}
	if err := build(); err != nil {
		fmt.Fprintln(os.Stderr, errors.Join(err, os.RemoveAll(bin)))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := os.RemoveAll(bin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
		os.Exit(code)
	}))
}

func build() (err error) {
	if bin, err = os.MkdirTemp("", "bbbin"); err != nil {
		return err
	}
	cmd := exec.Command("go", "build", "-o", bin+string(filepath.Separator), "../cmd/lbd", "../cmd/bbagent", "../cmd/bbctl")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the binaries: %w\n%s", err, out)
	}
	return nil
}
