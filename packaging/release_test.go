package packaging

import (
	"archive/tar"
	"compress/gzip"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// checkRelease looks at the folder that one would publish.
func checkRelease(t *testing.T, dir string) {
	var want []string
	for _, arch := range []string{"amd64", "arm64"} {
		want = append(want, "bazbeans-"+first+"-linux-"+arch+".tar.gz")
		for _, name := range []string{"lbd", "agent", "ctl"} {
			want = append(want, "bazbeans-"+name+"_"+first+"_"+arch+".deb", "bazbeans-"+name+"-"+first+"-1."+rpmArch[arch]+".rpm")
		}
		for _, program := range programs {
			want = append(want, program+"-"+first+"-linux-"+arch+".cdx.json")
		}
	}
	want = append(want, "NOTES.md", "SHA256SUMS")
	slices.Sort(want)
	var got []string
	for _, name := range files(t, dir, "*") {
		got = append(got, filepath.Base(name))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the folder has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	sums := exec.Command("sh", "-ec", example(t, "sha256sum"))
	sums.Dir = dir
	if out, err := sums.CombinedOutput(); err != nil || strings.Count(string(out), ": OK\n") != len(want)-1 {
		t.Errorf("%v\n%s", err, out)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		checkTar(t, dir, arch)
	}
	checkBill(t, filepath.Join(dir, "lbd-"+first+"-linux-arm64.cdx.json"))
}

var (
	programs = []string{"bbagent", "bbctl", "lbd"}
	rpmArch  = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}
	machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
)

func checkTar(t *testing.T, dir, arch string) {
	top := "bazbeans-" + first + "-linux-" + arch
	f, err := os.Open(filepath.Join(dir, top+".tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name, ok := strings.CutPrefix(h.Name, top+"/")
		if !ok || h.Uid != 0 || h.Mode&0o022 != 0 {
			t.Errorf("%s: of user %d, mode %o", h.Name, h.Uid, h.Mode)
		}
		seen[name] = true
		if slices.Contains(programs, name) {
			program := filepath.Join(t.TempDir(), name)
			data, err := io.ReadAll(r)
			if err == nil {
				err = os.WriteFile(program, data, 0o755)
			}
			if err != nil {
				t.Fatal(err)
			}
			checkProgram(t, program, arch)
		}
	}
	for _, name := range append(programs, "LICENSE", "THIRD-PARTY-LICENSES.gz", "man/lbd.8.gz", "systemd/lbd.service", "config/lbd.yaml", "completion/bbctl.zsh") {
		if !seen[name] {
			t.Errorf("%s has no %s", top, name)
		}
	}
}

// checkProgram: it is for that machine, static, and, where it can be run, says its version.
func checkProgram(t *testing.T, program, arch string) {
	t.Helper()
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Machine != machines[arch] {
		t.Errorf("%s is for %s, not for %s", program, f.Machine, arch)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Errorf("%s is not static", program)
		}
	}
	if arch == "amd64" {
		if out := command(t, program, "version"); out != filepath.Base(program)+" "+first+"\n" {
			t.Errorf("%s says %q", program, out)
		}
	}
}

func checkBill(t *testing.T, name string) {
	var bill struct {
		BomFormat  string
		Components []struct{ Name, Version, Purl string }
		Metadata   struct {
			Timestamp string
			Component struct{ Name, Version string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, name)), &bill); err != nil {
		t.Fatal(err)
	}
	if m := bill.Metadata; bill.BomFormat != "CycloneDX" || m.Component.Name != "lbd" || m.Component.Version != first || m.Timestamp != "2023-11-14T22:13:20Z" {
		t.Errorf("%s: %s, %+v", name, bill.BomFormat, m)
	}
	for _, want := range []string{"stdlib", "github.com/redis/go-redis/v9"} {
		if !strings.Contains(read(t, name), `"`+want+`"`) {
			t.Errorf("the bill has no %s: %+v", want, bill.Components)
		}
	}
}

// again builds the packages of this architecture from a copy of the tree, in a folder of another name, as another
// umask would have it: byte for byte the same.
func again(t *testing.T, release string) {
	tree := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	command(t, "sh", "-ec", `cd .. && git ls-files -z --cached --others --exclude-standard | xargs -0 sh -c 'for f; do [ -e "$f" ] && echo "$f"; done' sh |
		tar -cf - -T - | (umask 077 && tar -xf - --no-same-permissions --touch -C "$0")`, tree)
	dist := t.TempDir()
	script(t, tree, "release", first, dist, "amd64")
	same := 0
	for _, name := range files(t, filepath.Join(dist, first), "*") {
		base := filepath.Base(name)
		if base == "SHA256SUMS" {
			continue // of fewer files
		}
		if read(t, name) != read(t, filepath.Join(release, base)) {
			t.Errorf("%s is not the same", base)
		}
		same++
	}
	if same != 11 {
		t.Errorf("%d files were compared, not 11", same)
	}
}
