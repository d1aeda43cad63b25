package harness

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bazbeans/bazbeans/nginx-test/cases"
)

// The standard cases hold for lbd's own template, in every network that a run may find itself in, and its golden files
// are complete.
func TestStandardCases(t *testing.T) {
	for _, network := range []string{networkPrivate, networkLoopback} {
		t.Run(network, func(t *testing.T) {
			code, r := rows(t, "--network", network)
			standard(t, r)
			if code != 0 || r.Network != network {
				t.Errorf("exit code %d, network %s", code, r.Network)
			}
		})
	}
	t.Run("user namespace", func(t *testing.T) { standard(t, asNobody(t, "test", "--network", networkPrivate, "-o", "json")) })
}

func standard(t *testing.T, r *Report) {
	t.Helper()
	if !r.OK || len(r.Results) < 14 {
		t.Errorf("%d rows, ok: %v", len(r.Results), r.OK)
	}
	for _, row := range r.Results {
		refused := row.Went == "refused, as wanted"
		if !row.OK || refused != (row.Requests == 0) || refused == (row.Golden == goldenSame) {
			t.Errorf("%+v", row)
		}
		text, err := fs.ReadFile(cases.FS, "golden/"+row.Template+"/"+row.Case+".conf")
		if !refused && (err != nil || row.Rendered != string(text)) {
			t.Errorf("%s: rendered is %q, the golden file %q, %v", row.Case, row.Rendered, text, err)
		}
	}
	if len(r.Notes) > 0 {
		t.Errorf("notes: %q", r.Notes)
	}
}

// --show prints the rendered text of a row that passes, once for all Nginx that played it, also from another run's rows.
func TestShow(t *testing.T) {
	text, err := fs.ReadFile(cases.FS, "golden/upstream.conf.tmpl/one-node.conf")
	if err != nil {
		t.Fatal(err)
	}
	_, rows, _ := lbdTest(t, "--only", "one-node", "-o", "json")
	dir := files(t, map[string]string{"rows.json": rows})
	for _, args := range [][]string{{"--only", "one-node", "--nginx", "nginx", "--nginx", "nginx"}, {"--from", filepath.Join(dir, "rows.json")}} {
		code, out, said := lbdTest(t, append(args, "--show")...)
		if code != 0 || strings.Count(out, string(text)) != 1 || !strings.Contains(out, "RENDERED upstream.conf.tmpl × one-node, engine reload\n") {
			t.Errorf("%v: exit code %d: %s%s", args, code, said, out)
		}
	}
}

// asNobody runs this binary as a user without rights.
func asNobody(t *testing.T, args ...string) *Report {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	if os.Geteuid() == 0 {
		dir, err := os.MkdirTemp("", "lbd-test-nobody-") // t.TempDir is closed to others
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		text, err := os.ReadFile(self)
		if err != nil {
			t.Fatal(err)
		}
		cmd.Path, cmd.Dir = filepath.Join(dir, "lbd"), dir
		if err := os.WriteFile(cmd.Path, text, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{dir, cmd.Path} { // whatever the umask
			if err := os.Chmod(name, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		cmd.Env = append(os.Environ(), "TMPDIR=/tmp", "HOME=/")
	}
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	var r Report
	if jerr := json.Unmarshal(out, &r); err != nil || jerr != nil {
		t.Fatalf("%v: %s%s", err, said.String(), out)
	}
	return &r
}
