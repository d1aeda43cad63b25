package docker

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// image is a part of what docker image inspect says.
type image struct {
	Size   int64
	Config struct {
		User        string
		Labels      map[string]string
		Entrypoint  []string
		StopSignal  string
		Healthcheck *struct{ Test []string }
	}
}

func inspect(t *testing.T, name string) (i image) {
	t.Helper()
	if err := json.Unmarshal([]byte(docker(t, "image", "inspect", "--format", "{{json .}}", name)), &i); err != nil {
		t.Fatal(err)
	}
	return i
}

func TestImages(t *testing.T) {
	needEngine(t)
	images(t)
	below := inspect(t, world.base).Size
	for _, tc := range []struct {
		name string
		user string
		most int64 // MB beyond the base
		base int64
	}{
		{"lbd", "101:101", 40, below},
		{"web", "101:101", 25, below},
		{"bbagent", "65532:65532", 25, 0},
		{"bbctl", "65532:65532", 15, 0},
	} {
		i := inspect(t, world.prefix+tc.name)
		if i.Config.User != tc.user {
			t.Errorf("%s runs as %s, want %s", tc.name, i.Config.User, tc.user)
		}
		if mb := (i.Size - tc.base) >> 20; mb > tc.most {
			t.Errorf("%s is %d MB, want at most %d", tc.name, mb, tc.most)
		}
		const label = "org.opencontainers.image."
		if got := i.Config.Labels[label+"version"]; got != version {
			t.Errorf("%s: the label says version %q", tc.name, got)
		}
		if got := i.Config.Labels[label+"title"]; got != tc.name {
			t.Errorf("%s: the label says title %q", tc.name, got)
		}
		if got := i.Config.Labels[label+"created"]; got != "2023-11-14T22:13:20Z" {
			t.Errorf("%s: the label says created %q, want SOURCE_DATE_EPOCH", tc.name, got)
		}
		if _, ok := i.Config.Labels[label+"revision"]; !ok || i.Config.Labels[label+"source"] == "" {
			t.Errorf("%s: the labels are %v", tc.name, i.Config.Labels)
		}
		// To restart what serves because Redis is away would make an outage of a fault.
		if h := i.Config.Healthcheck; h != nil && strings.Contains(fmt.Sprint(h.Test), "readyz") {
			t.Errorf("%s: the health check asks /readyz: %v", tc.name, h.Test)
		}
	}
	for _, name := range []string{"bbagent", "bbctl"} {
		if got := docker(t, "run", "--rm", "--read-only", "--cap-drop", "ALL", world.prefix+name, "version"); got != name+" "+version {
			t.Errorf("%s version: %s", name, got)
		}
	}
	for _, name := range []string{"lbd", "bbinit"} {
		if got := docker(t, "run", "--rm", "--entrypoint", name, world.prefix+"lbd", "version"); got != name+" "+version {
			t.Errorf("%s version: %s", name, got)
		}
	}
}

// Two builds that share nothing but the base give the same files. What the classic builder makes anew each time is in
// the README.
func TestImagesAreReproducible(t *testing.T) {
	needEngine(t)
	images(t)
	write(t, world.checkout, "so-that-nothing-is-cached", t.Name())
	if _, err := commandIn(world.checkout, "", env("PREFIX="+world.prefix+"again-"), "docker/build.sh"); err != nil {
		t.Fatal(err)
	}
	layers := strings.Fields(docker(t, "image", "inspect", "--format", "{{range .RootFS.Layers}}{{.}} {{end}}", world.base))
	for _, name := range []string{"lbd", "bbagent", "bbctl", "web"} {
		below := 0
		if name == "lbd" || name == "web" {
			below = len(layers)
		}
		one, two := files(t, world.prefix+name, below), files(t, world.prefix+"again-"+name, below)
		if len(one) < 3 || len(one) != len(two) {
			t.Errorf("%s has %d entries, and %d in another build", name, len(one), len(two))
		}
		for _, path := range slices.Sorted(maps.Keys(one)) {
			if one[path] != two[path] {
				t.Errorf("%s: %s is %s, and %s in another build", name, path, one[path], two[path])
			}
		}
	}
}

// files are the entries of all layers above those of the base, by layer and name, without the times of folders.
func files(t *testing.T, name string, below int) map[string]string {
	t.Helper()
	saved, err := exec.Command("docker", "save", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(saved)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if parts[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	var manifest []struct{ Layers []string }
	if err := json.Unmarshal(parts["manifest.json"], &manifest); err != nil || len(manifest) != 1 {
		t.Fatalf("%s: manifest: %v", name, err)
	}
	entries := map[string]string{}
	for i, layer := range manifest[0].Layers {
		if i < below {
			continue
		}
		for r := tar.NewReader(bytes.NewReader(parts[layer])); ; {
			h, err := r.Next()
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			sum := sha256.New()
			if _, err := io.Copy(sum, r); err != nil {
				t.Fatal(err)
			}
			what := fmt.Sprintf("%c %o %d:%d %s %x", h.Typeflag, h.Mode, h.Uid, h.Gid, h.Linkname, sum.Sum(nil)[:8])
			if h.Typeflag != tar.TypeDir {
				what += h.ModTime.UTC().Format(" 2006-01-02 15:04:05")
				if h.ModTime.Unix() != 1700000000 {
					t.Errorf("%s: the time of %s is %s, want SOURCE_DATE_EPOCH", name, h.Name, h.ModTime)
				}
			}
			entries[fmt.Sprint(i, "/", h.Name)] = what
		}
	}
	return entries
}

// The binaries that are compiled for an image are those that make build makes, to the byte.
func TestBinariesFromSource(t *testing.T) {
	needEngine(t)
	out := t.TempDir()
	dirs := goDirs(t)
	args := []string{"run", "--rm", "--network", "none", "--volume", world.checkout + ":/src:ro", "--volume", out + ":/out", "--workdir", "/src",
		"--env", "PATH=" + dirs.root + "/bin:/usr/bin:/bin", "--env", "GOPROXY=off", "--env", "GOCACHE=" + dirs.cache, "--env", "GOMODCACHE=" + dirs.modules,
		"--env", "VERSION=" + version, "--env", "BINARIES=source", "--tmpfs", "/work", "--entrypoint", "/bin/sh"}
	for _, dir := range []string{dirs.root, dirs.cache, dirs.modules} {
		args = append(args, "--volume", dir+":"+dir)
	}
	// As in the Dockerfile, but for the folder that it writes small files to.
	docker(t, append(args, world.base, "-ec", "cp -r . /work && cd /work && sh docker/image/rootfs.sh /out")...)
	for _, path := range []string{"lbd/usr/local/bin/lbd", "lbd/usr/local/bin/bbinit", "bbagent/usr/local/bin/bbagent", "bbctl/usr/local/bin/bbctl"} {
		sums := [2][32]byte{}
		for i, name := range []string{filepath.Join(out, path), filepath.Join(world.checkout, "bin", filepath.Base(path))} {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			sums[i] = sha256.Sum256(text)
		}
		if sums[0] != sums[1] {
			t.Errorf("%s is not what make build makes", path)
		}
	}
}

// goDirs are this machine's Go, what it has compiled and what it has fetched: in place of an image with Go.
func goDirs(t *testing.T) (dirs struct{ root, cache, modules string }) {
	t.Helper()
	out, err := command(world.checkout, "", "go", "env", "GOROOT", "GOCACHE", "GOMODCACHE")
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(out)
	dirs.root, dirs.cache, dirs.modules = f[0], f[1], f[2]
	return dirs
}
