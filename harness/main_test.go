package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/bazbeans/bazbeans/cli"
	"github.com/bazbeans/bazbeans/lbd"
)

// program is lbd as the tests run it: without the config file of this machine.
func program() lbd.Program {
	c := Command
	c.ConfigFile = ""
	return lbd.Program{Commands: []lbd.Command{c}}
}

// A run in a namespace of its own is this binary once more, with the arguments of `lbd test`.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "test" {
		cli.Main(program().Main)
	}
	goleak.VerifyTestMain(m)
}

// lbdTest runs `lbd test` and returns its exit code and what it printed.
func lbdTest(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, said bytes.Buffer
	code = program().Main(context.Background(), append([]string{"test"}, args...), strings.NewReader(""), &out, &said)
	return code, out.String(), said.String()
}

// rows runs `lbd test -o json` and returns the report.
func rows(t testing.TB, args ...string) (int, *Report) {
	t.Helper()
	code, out, said := lbdTest(t, append(args, "-o", "json")...)
	var r Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("exit code %d: %s\n%s%v", code, said, out, err)
	}
	return code, &r
}

// files writes files into a new folder and returns it.
func files(t testing.TB, texts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range texts {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
