package packaging

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var (
	boot = flag.Bool("boot", false, "build packages and a release, and install them in a Debian that is booted in a container (make test-packages); needs root, systemd-nspawn, and debootstrap for the first time")
	kept = flag.String("dist", "", "a `folder` to build in; what is there from a former run is not built again")
)

// What is built: a release, and an upgrade of it for this Debian.
const (
	first  = "1.0.0+7.gfirst"
	second = "1.1.0"
)

// epoch is the time of all builds here.
const epoch = "1700000000"

// script runs one of our scripts in a tree and returns what it says.
func script(t *testing.T, tree, name, version string, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(tree, "packaging", name), args...)
	cmd.Env = append(os.Environ(), "VERSION="+version, "SOURCE_DATE_EPOCH="+epoch, "PACKAGERS=deb rpm")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("packaging/%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// files are the names of the files in a folder that match a pattern; there is at least one.
func files(t *testing.T, dir, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no %s in %s: %v", pattern, dir, err)
	}
	return names
}

// command runs a program on this host.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestPackages builds once what all the tests look at.
func TestPackages(t *testing.T) {
	if !*boot {
		t.Skip("boots a machine: make test-packages")
	}
	dist := *kept
	if dist == "" {
		dist = t.TempDir()
	}
	release, upgrade := filepath.Join(dist, first), filepath.Join(dist, "upgrade")
	if _, err := os.Stat(release); err != nil {
		script(t, "..", "release", first, dist)
		script(t, "..", "build", second, upgrade, "amd64")
	}
	t.Run("release", func(t *testing.T) { checkRelease(t, release) })
	t.Run("the same again elsewhere", func(t *testing.T) { again(t, release) })
	t.Run("deb", func(t *testing.T) { checkDebs(t, release) })
	t.Run("in debian", func(t *testing.T) { inDebian(t, release, upgrade) })
}
