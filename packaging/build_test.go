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

// The programs of make build, which images may be made of, and those of a release are built alike: same commit, same bytes.
func TestBuiltAlike(t *testing.T) {
	const linked = "-s -w -X github.com/bazbeans/bazbeans/cli.version="
	said := command(t, "make", "--no-print-directory", "-C", "..", "-n", "build", "VERSION="+first)
	if want := "CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '" + linked + first + "' -o bin/ ./cmd/..."; !strings.Contains(said, want) {
		t.Errorf("make build does %s, want %s", said, want)
	}
	if text := read(t, "build"); !strings.Contains(text, "CGO_ENABLED=0 GOFLAGS='-trimpath -buildvcs=false' ") || !strings.Contains(text, `go build -ldflags "`+linked+`$VERSION" \`) {
		t.Error("packaging/build does otherwise")
	}
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
