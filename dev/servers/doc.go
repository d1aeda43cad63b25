// Package servers runs a real redis-server and a real nginx as children of
// this process, each on loopback and with every file under one folder, for
// tests, for the demo site and for the benchmark.
//
// A server that was started is ready: redis answers PING, nginx has its
// listeners open. Both end with their parent, on Linux even when the parent
// is killed. The package does not install anything, does not touch the
// machine's own servers or their files, and never removes the folder it was
// given: whoever made it removes it.
package servers

import (
	"errors"
	"fmt"
	"os/exec"
)

// ErrNotInstalled is wrapped by the error of a start whose program is not on
// this machine. The error's text names the package and the make target.
var ErrNotInstalled = errors.New("not installed")

// lookBinary finds the program to run: named, or fallback when name is empty.
func lookBinary(name, fallback, pkg string) (string, error) {
	if name == "" {
		name = fallback
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is %w: install the package %s, or run `make deps` (%w)", name, ErrNotInstalled, pkg, err)
	}
	return path, nil
}
